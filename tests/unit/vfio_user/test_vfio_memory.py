# SPDX-License-Identifier: GPL-2.0-only
"""The client's memory: windows over its files."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import pytest

from harness.vfio_user.memory import DmaError, GuestMemory
from harness.vfio_user.wire import Refused

PAGE = 4096


@pytest.fixture
def ram() -> Iterator[int]:
    fd = os.memfd_create("ram")
    os.ftruncate(fd, 16 * PAGE)
    yield fd
    os.close(fd)


@pytest.fixture
def memory() -> Iterator[GuestMemory]:
    memory = GuestMemory()
    yield memory
    memory.clear()


def give(memory: GuestMemory, fd: int, address: int, size: int, offset: int = 0, flags: int = 3) -> None:
    memory.map(address, size, os.dup(fd), offset, flags)


def test_what_the_client_writes_is_read_at_its_bus_address(memory: GuestMemory, ram: int) -> None:
    give(memory, ram, 0x100000, 4 * PAGE, offset=2 * PAGE)
    os.pwrite(ram, b"hello", 3 * PAGE + 10)
    assert memory.read(0x100000 + PAGE + 10, 5) == b"hello"
    memory.write(0x100000, b"world")
    assert os.pread(ram, 5, 2 * PAGE) == b"world"


def test_an_access_crosses_from_one_window_into_the_next(memory: GuestMemory, ram: int) -> None:
    give(memory, ram, 0, PAGE, offset=8 * PAGE)
    give(memory, ram, PAGE, PAGE, offset=2 * PAGE)
    memory.write(PAGE - 4, b"abcdefgh")
    assert (os.pread(ram, 4, 9 * PAGE - 4), os.pread(ram, 4, 2 * PAGE)) == (b"abcd", b"efgh")
    assert memory.read(PAGE - 4, 8) == b"abcdefgh"


@pytest.mark.parametrize(("address", "size"), [(0, 1), (PAGE - 1, 2), (3 * PAGE - 1, 2), (1 << 40, 8)])
def test_an_address_outside_is_an_error(memory: GuestMemory, ram: int, address: int, size: int) -> None:
    give(memory, ram, PAGE, 2 * PAGE)
    with pytest.raises(DmaError):
        memory.read(address, size)
    with pytest.raises(DmaError):
        memory.write(address, bytes(size))


def test_a_window_without_a_file_is_known_but_not_accessible(memory: GuestMemory) -> None:
    memory.map(0, PAGE, None, 0, 3)
    assert memory.windows() == [(0, PAGE, False)]
    with pytest.raises(DmaError, match="without a file descriptor"):
        memory.read(0, 4)


def test_a_window_that_is_not_writeable_is_only_read(memory: GuestMemory, ram: int) -> None:
    give(memory, ram, 0, PAGE, flags=1)
    assert memory.read(0, 4) == bytes(4)
    with pytest.raises(DmaError, match="read-only"):
        memory.write(0, b"x")


@pytest.mark.parametrize(("address", "size"), [(0, PAGE), (PAGE, PAGE), (0, 8 * PAGE), (3 * PAGE, PAGE)])
def test_overlapping_windows_are_refused(memory: GuestMemory, ram: int, address: int, size: int) -> None:
    give(memory, ram, 0, 4 * PAGE)
    with pytest.raises(Refused) as refused:
        give(memory, ram, address, size)
    assert refused.value.code == errno.EEXIST
    assert len(memory) == 1


def test_a_file_that_is_too_short_or_none_is_refused(memory: GuestMemory, ram: int) -> None:
    with pytest.raises(Refused, match="leaves its file"):
        give(memory, ram, 0, 4 * PAGE, offset=13 * PAGE)
    reader, writer = os.pipe()
    with pytest.raises(Refused, match="cannot be mapped"):
        give(memory, reader, 0, PAGE)
    os.close(reader)
    os.close(writer)
    assert len(memory) == 0


def test_a_refused_window_leaks_no_descriptor(memory: GuestMemory, ram: int) -> None:
    give(memory, ram, 0, PAGE)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(Refused):
            give(memory, ram, 0, PAGE)
    assert len(os.listdir("/proc/self/fd")) == before


def test_one_large_range_unmaps_many_windows(memory: GuestMemory, ram: int) -> None:
    for n in range(8):
        give(memory, ram, n * PAGE, PAGE, offset=n * PAGE)
    memory.unmap(2 * PAGE, 4 * PAGE)
    assert [start // PAGE for start, _, _ in memory.windows()] == [0, 1, 6, 7]
    with pytest.raises(DmaError):
        memory.read(2 * PAGE, 1)


@pytest.mark.parametrize(("address", "size"), [(PAGE, PAGE), (0, PAGE), (2 * PAGE, 8 * PAGE)])
def test_a_window_is_not_split(memory: GuestMemory, ram: int, address: int, size: int) -> None:
    give(memory, ram, 0, 4 * PAGE)
    with pytest.raises(Refused, match="split"):
        memory.unmap(address, size)
    assert len(memory) == 1


def test_unmapping_forgets_the_file(memory: GuestMemory, ram: int) -> None:
    before = len(os.listdir("/proc/self/fd"))
    give(memory, ram, 0, PAGE)
    give(memory, ram, PAGE, PAGE, offset=PAGE)
    assert memory.read(0, 1) == b"\0"
    memory.unmap(0, PAGE)
    with pytest.raises(DmaError):
        memory.read(0, 1)
    assert memory.read(PAGE, 1) == b"\0"
    memory.unmap(PAGE, PAGE)
    assert len(os.listdir("/proc/self/fd")) == before
