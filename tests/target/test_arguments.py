# SPDX-License-Identifier: GPL-2.0-only
"""What a call is given: tables that are not there, handles that are none, a buffer that is made of another's."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable

import pytest

from harness.drm import memory, structs
from harness.drm.client import Client
from harness.drm.heap import MIB
from harness.drm.memory import PAGE
from harness.drm.structs import SYNC_FROM_DEVICE, BoType
from harness.guest.counters import pinned_pages
from harness.guest.expect import name_of, refused, works

NOWHERE = 0x10000
"""Below vm.mmap_min_addr: no process has memory there."""
NO_HANDLE = 4711
UNREADABLE = (errno.EFAULT, errno.EINVAL)
"""7.3 says EINVAL of what it cannot read."""


@pytest.mark.quick
def test_o17_table_that_is_not_there(client: Client) -> None:
    """O17: a table of user memory that cannot be read, whole or its end, is refused and leaves nothing.

    Source: amdxdna_gem.c, amdxdna_gem_create_ubuf_object(); amdxdna_ubuf.c, amdxdna_get_ubuf().
    """
    before = pinned_pages()
    area = memory.reserve(2 * PAGE, PAGE)
    memory.mmap(area, PAGE, memory.PROT_RW, memory.MAP_PRIVATE | memory.MAP_ANONYMOUS | memory.MAP_FIXED)
    header = bytes(structs.VaTableHeader(dmabuf_fd=-1, num_entries=2))
    last = area + PAGE - len(header)
    ctypes.memmove(last, header, len(header))
    for address, what in ((NOWHERE, "a table"), (last, "the entries of a table")):
        with pytest.raises(OSError) as refusal:
            client.create_bo(BoType.SHARE, PAGE, vaddr=address)
        assert refusal.value.errno in UNREADABLE, f"{what} that cannot be read: {name_of(refusal.value.errno)}"
    memory.munmap(area, 2 * PAGE)
    assert pinned_pages() == before


@pytest.mark.quick
def test_l10_buffer_made_of_a_dma_buf(open_client: Callable[[], Client]) -> None:
    """L10: a buffer that is made of a dma-buf, by a table without entries, is the same memory and keeps it, and cannot
    be exported again; what is no dma-buf is refused.

    Source: amdxdna_gem.c, amdxdna_gem_create_ubuf_object(), private_buffer.
    """
    owner, other = open_client(), open_client()
    with works("SHARE BO, exported"):
        share = owner.create_bo(BoType.SHARE, MIB)
        fd = owner.export(share)
    with works("a buffer made of it"):
        made = other.create_dma_buf_bo(fd, MIB)
    os.close(fd)
    owner.map_bo(share, MIB).write(5000, b"one memory")
    mapping = other.map_bo(made, MIB)
    assert mapping.read(5000, 10) == b"one memory"
    with refused(errno.EOPNOTSUPP, "exporting a buffer made of another's"):
        other.export(made)
    owner.close()
    assert mapping.read(5000, 10) == b"one memory"
    with refused(errno.EBADF, "a buffer made of a file that is not open"):
        other.create_dma_buf_bo(NO_HANDLE, MIB)
    with open("/dev/null", "rb") as file, refused(errno.EINVAL, "a buffer made of what is no dma-buf"):
        other.create_dma_buf_bo(file.fileno(), MIB)


@pytest.mark.quick
def test_l10_exported_twice(open_client: Callable[[], Client]) -> None:
    """L10: a buffer that was imported is exported as the dma-buf that it came as.

    Source: amdxdna_gem.c, amdxdna_gem_prime_export().
    """
    owner, other, third = open_client(), open_client(), open_client()
    with works("SHARE BO, from file to file"):
        share = owner.create_bo(BoType.SHARE, MIB)
        first = owner.export(share)
        second = other.export(other.import_fd(first))
        handle = third.import_fd(second)
    assert os.fstat(first).st_ino == os.fstat(second).st_ino
    os.close(first)
    os.close(second)
    owner.map_bo(share, MIB).write(0, b"one memory")
    assert third.map_bo(handle, MIB).read(0, 10) == b"one memory"


@pytest.mark.quick
def test_l18_handles_that_are_none(client: Client) -> None:
    """L18: what is asked of a buffer that is not there is ENOENT; a DEV BO of no size is EINVAL.

    Source: amdxdna_gem.c, amdxdna_drm_get_bo_info_ioctl(), amdxdna_drm_sync_bo_ioctl(), amdxdna_drm_create_dev_bo().
    """
    with refused(errno.ENOENT, "GET_BO_INFO"):
        client.bo_info(NO_HANDLE)
    with refused(errno.ENOENT, "SYNC_BO"):
        client.sync_bo(NO_HANDLE, 0, PAGE, SYNC_FROM_DEVICE)
    with refused(errno.EINVAL, "a DEV BO of no size"):
        client.create_bo(BoType.DEV, 0)
