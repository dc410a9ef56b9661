# SPDX-License-Identifier: GPL-2.0-only
"""What was opened, created or mapped is given back, in whatever order it ends.

Repetitions are few in the default suite: a leak of one chunk, context or reference shows at once; hundreds are for the
suite "stress".
"""

from __future__ import annotations

import ctypes
import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.drm import ioctl, memory, structs
from harness.drm.client import Client, Hwctx
from harness.drm.command import State
from harness.drm.device import Device
from harness.drm.heap import CHUNK, MAX_HEAP, MIB, Heap
from harness.drm.memory import Mapping
from harness.drm.structs import BoType
from harness.guest.child import in_child
from harness.guest.counters import mailboxes, shared_memory, snapshot
from harness.guest.expect import eventually, falls_asleep, refused, works
from harness.guest.npu import Npu
from harness.guest.program import Program
from harness.guest.worker import Worker

EXPANDING = pytest.mark.generations("npu4", "npu5", "npu6")
SHARED_MEMORY = pytest.mark.modes("sva", "force-iova")
"""Where buffers are shared memory, which the system counts; carveout memory it does not."""
TOLERANCE = 16 * MIB
"""Less than a chunk by far; more than what a process and its page cache need in between."""


FILLING_SECONDS = 40.0
Measure = Callable[[str, float, str], None]


def times(few: int, often: int) -> pytest.MarkDecorator:
    """How often a test repeats what it does: in the default suite, and in the suite "stress"."""
    long = [pytest.mark.stress, pytest.mark.long]
    counts = [pytest.param(few, id="few"), pytest.param(often, id="often", marks=long)]
    return pytest.mark.parametrize("count", counts)


def flat(before: int) -> Callable[[], bool]:
    """Whether shared memory is back at ``before``."""
    return lambda: abs(shared_memory() - before) < TOLERANCE


@pytest.mark.quick
@times(200, often=1000)
def test_l01_open_and_close(device: Device, count: int) -> None:
    """L01: opening and closing the device leaves nothing: no memory, no object, no reference.

    Source: amdxdna_pci_drv.c, amdxdna_drm_open(), amdxdna_drm_close().
    """
    Client.open(device.node).close()
    before = snapshot()
    for number in range(count):
        with works(f"opening {number + 1}"):
            Client.open(device.node).close()
    after = snapshot()
    for name in ("module.refcnt", "files.open", "slab.mm_struct"):
        assert after.get(name, 0) <= before.get(name, 0) + 2, f"{name}: {before[name]}, now {after[name]}"
    assert after["meminfo.MemAvailable"] > before["meminfo.MemAvailable"] - TOLERANCE
    falls_asleep(device)


@EXPANDING
@times(2, often=200)
def test_l02_full_heap(device: Device, count: int, measure: Measure) -> None:
    """L02: a heap of eight mapped chunks is given back at close, every time. Often is as often as fits into its time.

    Source: amdxdna_pci_drv.c, amdxdna_client_cleanup().
    """
    before, until, number = shared_memory(), time.monotonic() + FILLING_SECONDS, 0
    while number < count and (number < 2 or time.monotonic() < until):
        number += 1
        heap = Heap(Client.open(device.node))
        for chunk in range(MAX_HEAP // CHUNK):
            with works(f"round {number}, chunk {chunk + 1}"):
                heap.add_chunk()
        with works(f"round {number}, DEV BO over the whole heap"):
            heap.create_dev(MAX_HEAP)
        heap.client.close()
        heap.release()
        eventually(flat(before), f"shared memory is back after round {number}")
    measure("full heaps", number, "")


@SHARED_MEMORY
@pytest.mark.parametrize("order", ["nothing", "file", "handle"])
@pytest.mark.mode
def test_l03_exit_without_clean_up(device: Device, order: str) -> None:
    """L03: a process that ends without unmapping, whatever it closed before, gives all back.

    Source: amdxdna_gem.c, amdxdna_gem_obj_free(); the mapping holds the file, not the other way round.
    """
    before = shared_memory()

    def body() -> None:
        heap = Heap(Client.open(device.node))
        with works("first chunk and a DEV BO"):
            chunk = heap.add_chunk()
            heap.create_dev(MIB)
        if order == "file":
            os.close(heap.client.fd)
        elif order == "handle":
            heap.client.close_bo(chunk.handle)

    in_child(body)
    eventually(flat(before), "shared memory is back")


@pytest.mark.fw
@times(40, often=500)
@pytest.mark.mode
def test_l04_contexts(heap: Heap, npu: Npu, device: Device, count: int) -> None:
    """L04: contexts come and go without leaving a channel, an interrupt, a firmware context or a reference.

    Source: aie2_ctx.c, aie2_hwctx_fini().
    """
    with works("first chunk"):
        heap.add_chunk()
    used = heap.client.usage().heap
    for number in range(count):
        with works(f"context {number + 1}"):
            heap.client.destroy_hwctx(heap.client.create_hwctx())
    assert heap.client.contexts_alive() == 0
    assert mailboxes() == 1
    assert heap.client.usage().heap == used
    falls_asleep(device)


@pytest.mark.quick
@pytest.mark.fw
def test_l04_no_doorbell(heap: Heap, npu: Npu) -> None:
    """L04: a context on a device without doorbells says so.

    Source: amdxdna_ctx.c, amdxdna_drm_create_hwctx_ioctl(), AMDXDNA_INVALID_DOORBELL_OFFSET.
    """
    qos = structs.QosInfo(gops=100, priority=structs.PRIORITY_NORMAL)
    request = structs.CreateHwctx(qos_p=ctypes.addressof(qos), max_opc=0x800, num_tiles=4)
    with works("first chunk and a context"):
        heap.add_chunk()
        ioctl.call(heap.client.fd, ioctl.CREATE_HWCTX, request)
    assert request.umq_doorbell == 2**32 - 1


@pytest.mark.quick
@pytest.mark.parametrize("opcode", ["CREATE_CONTEXT", "MAP_HOST_BUFFER"])
@pytest.mark.fw
def test_l05_context_that_fails(heap: Heap, npu: Npu, device: Device, opcode: str) -> None:
    """L05: a context that firmware refuses at one step leaves as little as one that was destroyed.

    Source: aie2_ctx.c, aie2_hwctx_init().
    """
    with works("first chunk"):
        heap.add_chunk()
    used = heap.client.usage().heap
    npu.script({"opcode": opcode, "status": 0x2000004, "count": 5})
    for number in range(5):
        with refused(errno.EINVAL, f"context {number + 1}, refused at {opcode}"):
            heap.client.create_hwctx()
    assert heap.client.contexts_alive() == 0
    assert mailboxes() == 1
    assert heap.client.usage().heap == used
    falls_asleep(device)
    with works("context that firmware accepts"):
        heap.client.create_hwctx()


@pytest.mark.quick
@pytest.mark.fw
def test_l06_destroy_while_suspended(heap: Heap, npu: Npu, device: Device) -> None:
    """L06: a context that is destroyed while the device sleeps is counted out once.

    Source: aie2_message.c, aie2_destroy_context(), hwctx_num.
    """
    with works("first chunk and a context"):
        heap.add_chunk()
        context = heap.client.create_hwctx()
    falls_asleep(device)
    with works("destroying the context while the device sleeps"):
        heap.client.destroy_hwctx(context)
    assert heap.client.contexts_alive() == 0
    with works("another context"):
        heap.client.create_hwctx()
    assert heap.client.contexts_alive() == 1


@pytest.mark.quick
def test_l07_export_of_dev_bo(heap: Heap) -> None:
    """L07: a DEV BO cannot be exported; the refusal makes no file descriptor.

    Source: amdxdna_gem.c, amdxdna_gem_dev_obj_export().
    """
    with works("first chunk and a DEV BO"):
        heap.add_chunk()
        dev = heap.create_dev(4096)
    before = sorted(os.listdir("/proc/self/fd"))
    with refused(errno.EOPNOTSUPP, "export of a DEV BO"):
        heap.client.export(dev)
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.quick
@SHARED_MEMORY
@pytest.mark.mode
def test_l08_dma_buf_outlives_the_file(open_client: Callable[[], Client]) -> None:
    """L08: an exported SHARE BO keeps its content when the device's file is closed.

    Source: amdxdna_gem.c, amdxdna_gem_prime_export(), amdxdna_gem_dmabuf_mmap().
    """
    client = open_client()
    with works("SHARE BO, mapped and exported"):
        share = client.create_bo(BoType.SHARE, MIB)
        client.map_bo(share, MIB).write(5000, b"outlives")
        fd = client.export(share)
    client.close()
    try:
        with works("mapping the dma-buf"):
            start = memory.mmap(0, MIB, memory.PROT_RW, memory.MAP_SHARED, fd)
    finally:
        os.close(fd)
    mapping = Mapping(start, MIB)
    assert mapping.read(5000, 8) == b"outlives"
    mapping.write(0, b"and can be written")
    mapping.unmap()


@pytest.mark.quick
@SHARED_MEMORY
@pytest.mark.mode
def test_l09_exported_chunk(heap: Heap) -> None:
    """L09: an exported chunk's memory is given back when the dma-buf is closed, not before.

    Source: amdxdna_gem.c, amdxdna_gem_prime_export().
    """
    before = shared_memory()
    with works("first chunk, exported"):
        fd = heap.client.export(heap.add_chunk().handle)
    heap.client.close()
    try:
        assert shared_memory() - before > CHUNK // 2, "the memory is gone while the dma-buf is open"
    finally:
        os.close(fd)
    eventually(flat(before), "the memory is back when the dma-buf is closed")


@pytest.mark.quick
@pytest.mark.fw
def test_l17_command_without_handle(heap: Heap, npu: Npu) -> None:
    """L17: EXEC_CMD with handle 0, or a handle that is none, is refused; the context goes on working.

    Source: amdxdna_ctx.c, amdxdna_cmd_submit().
    """
    with works("first chunk and a context"):
        heap.add_chunk()
        worker = Worker(heap)
    with refused(errno.EINVAL, "EXEC_CMD with handle 0"):
        heap.client.exec_cmd(worker.context, 0)
    with refused(errno.EINVAL, "EXEC_CMD with a handle that is none"):
        heap.client.exec_cmd(worker.context, 4711)
    assert worker.run(Program().store(worker.result_address, 1)) is State.COMPLETED
    assert worker.result.read(0, 8) == (1).to_bytes(8, "little")


@pytest.mark.quick
@pytest.mark.fw
def test_l17_what_is_no_command(heap: Heap, npu: Npu) -> None:
    """L17: a DEV BO is no command; a context that is not there runs none and cannot be destroyed; 4096 arguments are
    one too many. Nothing of it stays, and the context can be destroyed.

    Source: amdxdna_gem.c, amdxdna_gem_get_obj(); amdxdna_ctx.c, amdxdna_cmd_submit(), hwctx_srcu.
    """
    client = heap.client
    with works("first chunk, a context and a command buffer"):
        heap.add_chunk()
        worker = Worker(heap)
        cmd = client.create_bo(BoType.CMD, 4096)
        dev = heap.create_dev(4096)
    nobody = Hwctx(worker.context.handle + 1, worker.context.syncobj)
    with refused(errno.EINVAL, "EXEC_CMD with a DEV BO"):
        client.exec_cmd(worker.context, dev)
    with refused(errno.EINVAL, "EXEC_CMD for a context that is not there"):
        client.exec_cmd(nobody, cmd, [dev])
    with refused(errno.EINVAL, "EXEC_CMD with 4096 arguments"):
        client.exec_cmd(worker.context, cmd, [4711] * 4096)
    with refused(errno.EINVAL, "destroying a context that is not there"):
        client.destroy_hwctx(nobody)
    used = client.usage().heap
    client.close_bo(dev)
    assert client.usage().heap == used - 4096, "the DEV BO is still there"
    assert worker.run(Program().store(worker.result_address, 1)) is State.COMPLETED
    with works("destroying the context"):
        client.destroy_hwctx(worker.context)


@pytest.mark.quick
@pytest.mark.fw
def test_l17_what_is_no_unit(heap: Heap, npu: Npu) -> None:
    """L17: a compute unit must be a DEV BO, there are 32 at most, and a page holds them; what is refused leaves
    nothing, and the right one works.

    Source: aie2_ctx.c, aie2_hwctx_cu_config(); aie2_message.c, aie2_config_cu(); amdxdna_ctx.c,
    amdxdna_drm_config_hwctx_ioctl().
    """
    client = heap.client
    with works("first chunk, a context and a SHARE BO"):
        heap.add_chunk()
        worker = Worker(heap, configured=False)
        share = client.create_bo(BoType.SHARE, 4096)
    with refused(errno.EINVAL, "a SHARE BO as compute unit"):
        client.config_cu(worker.context, [(share, 0)])
    client.close_bo(share)
    with refused(errno.EINVAL, "33 compute units"):
        client.config_cu(worker.context, [(worker.cu, 0)] * 33)
    with refused(errno.E2BIG, "512 compute units, 8 bytes more than a page"):
        client.config_cu(worker.context, [(worker.cu, 0)] * 512)
    with works("one compute unit"):
        worker.configure()
    assert worker.run(Program().store(worker.result_address, 17)) is State.COMPLETED


@pytest.mark.quick
@SHARED_MEMORY
@pytest.mark.mode
def test_l24_user_memory(open_client: Callable[[], Client]) -> None:
    """L24: user memory is pinned while its buffer lives, no longer; the process can always write it.

    Source: amdxdna_ubuf.c, amdxdna_ubuf_release().
    """

    def pinned() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmPin"))

    client = open_client()
    area = memory.anonymous(MIB)
    area.write(0, bytes(MIB))
    before = pinned()
    for how in ("handle", "file"):
        with works("user memory"):
            handle = client.create_user_bo([(area.address, MIB)])
        assert pinned() == before + MIB
        area.write(0, b"writable")
        if how == "handle":
            client.close_bo(handle)
        else:
            client.close()
        eventually(lambda: pinned() == before, f"the pages are unpinned when the {how} is closed")
    area.unmap()


@pytest.mark.quick
@pytest.mark.modes("force-iova")
@times(100, often=10_000)
@pytest.mark.mode
def test_l32_addresses_are_reused(client: Client, count: int) -> None:
    """L32: with force_iova a freed buffer's address range is used again.

    Source: amdxdna_iommu.c, amdxdna_dma_unmap_bo().
    """
    seen, before = set(), snapshot()
    for number in range(count):
        with works(f"SHARE BO {number + 1}"):
            share = client.create_bo(BoType.SHARE, 64 * 1024)
        seen.add(client.bo_info(share).xdna_addr)
        client.close_bo(share)
    grown = snapshot().get("slab.iommu_iova", 0) - before.get("slab.iommu_iova", 0)
    assert grown < count // 2, f"{grown} address ranges are still there"
    assert len(seen) < 10, f"{len(seen)} addresses for one buffer at a time"
