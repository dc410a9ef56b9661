# SPDX-License-Identifier: GPL-2.0-only
"""Reserving, fixing and unmapping address space; this process is the test object."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from harness.drm import memory

MIB = 1 << 20


def protection(address: int) -> str:
    """What /proc/self/maps says of the mapping at ``address``, empty when there is none."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        if start <= address < end:
            return line.split()[1]
    return ""


def test_reserved_area_is_aligned_and_exact() -> None:
    address = memory.reserve(8 * MIB, 4 * MIB)
    try:
        assert address % (4 * MIB) == 0
        assert protection(address) == protection(address + 8 * MIB - 1) == "---p"
    finally:
        memory.munmap(address, 8 * MIB)
    assert protection(address) == ""


def test_mapping_into_a_reserved_area() -> None:
    address = memory.reserve(2 * MIB, MIB)
    flags = memory.MAP_PRIVATE | memory.MAP_ANONYMOUS | memory.MAP_FIXED
    assert memory.mmap(address + MIB, memory.PAGE, memory.PROT_RW, flags) == address + MIB
    mapping = memory.Mapping(address + MIB, memory.PAGE)
    mapping.write(10, b"here")
    assert mapping.read(8, 8) == b"\0\0here\0\0"
    memory.munmap(address, 2 * MIB)


def test_failing_mmap() -> None:
    arguments = (0, memory.PAGE, memory.PROT_RW, memory.MAP_SHARED, -1, 0)
    assert memory.try_mmap(*arguments) == -errno.EBADF
    with pytest.raises(OSError) as caught:
        memory.mmap(*arguments)
    assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize(("offset", "size"), [(-1, 1), (4090, 7), (4097, 0)])
def test_mapping_has_bounds(offset: int, size: int) -> None:
    area = memory.anonymous(memory.PAGE)
    with pytest.raises(ValueError, match="outside"):
        area.read(offset, size)
    with pytest.raises(ValueError, match="outside"):
        area.write(offset, bytes(size))
    area.unmap()
