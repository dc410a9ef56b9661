# SPDX-License-Identifier: GPL-2.0-only
"""What a call is given: tables that are not there, handles that are none, a buffer that is made of another's."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from itertools import chain

import pytest

from harness.drm import ioctl, memory, structs
from harness.drm.client import Client
from harness.drm.command import State
from harness.drm.heap import MIB, Heap
from harness.drm.memory import PAGE
from harness.drm.structs import SYNC_FROM_DEVICE, BoType, HwctxParam
from harness.guest.counters import pinned_pages
from harness.guest.expect import name_of, refused, works
from harness.guest.program import Program
from harness.guest.worker import Worker

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


@pytest.mark.mode
@pytest.mark.quick
def test_l10_buffer_of_nothing(client: Client) -> None:
    """L10: a buffer of no bytes is refused: by the driver in carveout memory, else by DRM, which finds no place for it.

    Source: amdxdna_gem.c, amdxdna_gem_create_cbuf_object(); drm_gem.c, drm_gem_create_mmap_offset().
    """
    for kind in (BoType.SHARE, BoType.CMD):
        with pytest.raises(OSError) as refusal:
            client.create_bo(kind, 0)
        assert refusal.value.errno in (errno.EINVAL, errno.ENOSPC), name_of(refusal.value.errno)
    assert client.create_bo(BoType.SHARE, 1)


@pytest.mark.modes("sva")
@pytest.mark.mode
@pytest.mark.quick
def test_l10_user_memory_is_not_mapped_by_its_buffer(client: Client) -> None:
    """L10: a buffer of user memory has no mapping of its own, and refusing one leaves the memory as it is.

    Source: amdxdna_ubuf.c, its dma-buf has no mmap; amdxdna_gem.c, amdxdna_insert_pages().
    """
    area = memory.anonymous(4 * PAGE)
    area.write(0, b"as it was")
    handle = client.create_user_bo([(area.address, 4 * PAGE)])
    before = pinned_pages()
    with refused(errno.EINVAL, "mmap of a buffer of user memory"):
        client.map_bo(handle, 4 * PAGE)
    assert area.read(0, 9) == b"as it was"
    assert pinned_pages() == before
    client.close_bo(handle)
    area.unmap()


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


def context_calls(hwctx: int) -> Iterator[tuple[str, int, ctypes.Structure, int]]:
    """What is asked, the ioctl, its argument (good until the next is asked for), and the errno that is due."""
    create, destroy, config, execute = ioctl.CREATE_HWCTX, ioctl.DESTROY_HWCTX, ioctl.CONFIG_HWCTX, ioctl.EXEC_CMD
    units = HwctxParam.CONFIG_CU
    yield "a context with an extension", create, structs.CreateHwctx(ext=1), errno.EINVAL
    yield "a context without QoS", create, structs.CreateHwctx(qos_p=NOWHERE, num_tiles=4), errno.EFAULT
    yield "the end of none", destroy, structs.DestroyHwctx(handle=NO_HANDLE), errno.EINVAL
    yield "an end with padding", destroy, structs.DestroyHwctx(handle=hwctx, pad=1), errno.EINVAL
    yield "settings with padding", config, structs.ConfigHwctx(handle=hwctx, pad=1), errno.EINVAL
    yield "unknown settings", config, structs.ConfigHwctx(handle=hwctx, param_type=99), errno.EINVAL
    large = structs.ConfigHwctx(handle=hwctx, param_type=units, param_val=NOWHERE, param_val_size=PAGE + 1)
    yield "compute units beyond a page", config, large, errno.E2BIG
    nowhere = structs.ConfigHwctx(handle=hwctx, param_type=units, param_val=NOWHERE, param_val_size=16)
    yield "compute units nowhere", config, nowhere, errno.EFAULT
    for count, owner, what in ((1, NO_HANDLE, "units of none"), (0, hwctx, "no units"), (200, hwctx, "units behind")):
        buffer = ctypes.create_string_buffer(bytes(structs.ConfigCuHeader(num_cus=count)), 32)
        asked = structs.ConfigHwctx(
            handle=owner, param_type=units, param_val=ctypes.addressof(buffer), param_val_size=len(buffer)
        )
        yield what, config, asked, errno.EINVAL
    yield "a command with an extension", execute, structs.ExecCmd(hwctx=hwctx, ext=1), errno.EINVAL
    yield "an unknown command", execute, structs.ExecCmd(hwctx=hwctx, type=99, cmd_count=1), errno.EINVAL
    for count in (0, 2):
        yield f"{count} commands", execute, structs.ExecCmd(hwctx=hwctx, cmd_count=count), errno.EINVAL
    many = structs.ExecCmd(hwctx=hwctx, cmd_count=1, arg_count=1 << 20)
    yield "a million arguments", execute, many, errno.EINVAL
    lost = structs.ExecCmd(hwctx=hwctx, cmd_count=1, args=NOWHERE, arg_count=4)
    yield "arguments nowhere", execute, lost, errno.EFAULT
    yield "waiting, which AIE4 has", ioctl.WAIT_CMD, structs.WaitCmd(hwctx=hwctx), errno.EOPNOTSUPP


def state_calls() -> Iterator[tuple[str, int, ctypes.Structure, int]]:
    """The same of SET_STATE."""
    yield "an unknown state", ioctl.SET_STATE, structs.SetState(param=99), errno.EOPNOTSUPP
    for param in structs.State:
        lost = structs.SetState(param=param, buffer_size=8, buffer=NOWHERE)
        yield f"{param.name} nowhere", ioctl.SET_STATE, lost, errno.EFAULT
        for value, what in ((b"\xff" + bytes(7), "of 255"), (bytes(7) + b"\1", "with padding")):
            buffer = ctypes.create_string_buffer(value, 8)
            asked = structs.SetState(param=param, buffer_size=8, buffer=ctypes.addressof(buffer))
            yield f"{param.name} {what}", ioctl.SET_STATE, asked, errno.EINVAL


@pytest.mark.quick
@pytest.mark.fw
@pytest.mark.root
def test_l18_arguments_that_are_none(heap: Heap) -> None:
    """L18: what contexts, commands and states cannot be asked is refused, each with its errno, and the context goes on.

    Source: amdxdna_ctx.c, amdxdna_drm_create_hwctx_ioctl() to amdxdna_drm_wait_cmd_ioctl(); aie2_ctx.c,
    aie2_hwctx_cu_config(); aie2_pci.c, aie2_set_state().
    """
    with works("first chunk and a context"):
        heap.add_chunk()
        worker = Worker(heap, configured=False)
    wrong = []
    for what, number, argument, due in chain(context_calls(worker.context.handle), state_calls()):
        error = -ioctl.try_call(heap.client.fd, number, argument)
        if error != due:
            wrong.append(f"{what}: {name_of(error)} instead of {name_of(due)}")
    assert not wrong, "\n".join(wrong)
    with works("its compute unit"):
        worker.configure()
    assert worker.run(Program().store(worker.result_address, 18)) is State.COMPLETED
