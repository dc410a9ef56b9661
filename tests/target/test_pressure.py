# SPDX-License-Identifier: GPL-2.0-only
"""Others take the memory, or signals come at any moment: the client hears of it, lives on, and can go on later."""

from __future__ import annotations

import errno
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from harness.drm import memory
from harness.drm.client import Client
from harness.drm.command import State
from harness.drm.device import Device
from harness.drm.heap import CHUNK, DEVICE_BASE, MIB, Heap
from harness.drm.structs import BoType
from harness.guest.cgroup import Cgroup, memory_group
from harness.guest.child import in_child
from harness.guest.expect import eventually, name_of, works
from harness.guest.npu import Npu
from harness.guest.program import Program
from harness.guest.worker import Worker

EXPANDING = pytest.mark.generations("npu4", "npu5", "npu6")
SPARE = 32 * MIB
"""What others leave over: less than a chunk, enough for Python."""
STORM_SECONDS = 3.0
STORM_EVERY = 0.002
T = TypeVar("T")


@contextmanager
def neighbour(body: Callable[[], None]) -> Iterator[int]:
    """Another process, which the system kills before any other; its pid. It is ended and waited for."""
    child = os.fork()
    if child == 0:
        try:
            Path("/proc/self/oom_score_adj").write_text("1000")
            body()
            signal.pause()
        finally:
            os._exit(1)
    try:
        yield child
    finally:
        try:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        except (ProcessLookupError, ChildProcessError):
            pass  # the test has waited for it


@contextmanager
def resident() -> Iterator[None]:
    """No page of this process is evicted: to read it again would kill the neighbour."""
    memory.lock_all()
    try:
        yield
    finally:
        memory.unlock_all()


def available() -> int:
    """Bytes that the system could still hand out (proc(5), MemAvailable)."""
    found = re.search(r"^MemAvailable: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def charged(group: Cgroup, call: Callable[[], int]) -> int:
    """The errno of a call that is made inside the group, 0 when it worked."""
    return max(0, -group.charge(call))


@EXPANDING
@pytest.mark.modes("sva")  # with force-iova the pages are allocated at creation (O11); carveout is no charged memory
@pytest.mark.mode
def test_o10_neighbour_is_killed(device: Device) -> None:
    """O10: while a neighbour in the same full memory group is killed for want of memory, a client that expands its
    heap is told ENOMEM at worst, and has its chunk when the neighbour is gone.

    Source: mm/memcontrol.c, mem_cgroup_charge(): the driver's pages are asked for with __GFP_RETRY_MAYFAIL, which kills
    nobody; drm_gem_shmem_helper.c, drm_gem_shmem_get_pages().
    """

    def body(group: Cgroup) -> None:
        # A neighbour that is dying, but has not given its memory back yet, must not make us the next one.
        Path("/proc/self/oom_score_adj").write_text("-1000")
        heap = Heap(Client.open(device.node))
        with works("two chunks"):
            chunks = [heap.create_chunk(), heap.create_chunk()]
        first, second = (heap.client.mmap_call(c.handle, c.size, heap.base + c.offset) for c in chunks)
        assert charged(group, first) == 0, "mapping the first chunk failed"

        def eat() -> None:
            group.join()
            memory.madvise(memory.anonymous(2 * CHUNK).address, 2 * CHUNK, memory.MADV_POPULATE_WRITE)
            os.abort()  # it cannot come here: the group has room for a chunk and a half

        answers = [errno.ENOMEM]
        with neighbour(eat) as child:
            until = time.monotonic() + 20
            while answers[-1] == errno.ENOMEM and time.monotonic() < until:
                answers.append(charged(group, second))
            _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL, f"the neighbour was not killed: status {status:#x}"
        assert answers[-1] == 0, f"mapping the second chunk: got {name_of(answers[-1])} after {len(answers)} tries"
        with works("DEV BO across both chunks"):
            heap.create_dev(96 * MIB)

    with memory_group("o10", 160 * MIB) as group:
        in_child(lambda: body(group))


@pytest.mark.modes("force-iova")
@pytest.mark.mode
def test_o11_memory_group_full_at_creation(device: Device) -> None:
    """O11: with force_iova a buffer's pages are allocated when it is created: in a full group that is ENOMEM; what is
    smaller works, and so does the same later.

    Source: amdxdna_gem.c, amdxdna_gem_obj_open(); amdxdna_iommu.c, amdxdna_dma_map_bo().
    """

    def body(group: Cgroup) -> None:
        client = Client.open(device.node)
        assert charged(group, client.create_bo_call(BoType.SHARE, 16 * MIB)) == 0
        before = client.usage()
        error = charged(group, client.create_bo_call(BoType.SHARE, 24 * MIB))
        assert error == errno.ENOMEM, f"24 MiB more in a group of 32 MiB: got {name_of(error)}"
        assert client.usage() == before, "what failed is counted"
        error = charged(group, client.create_bo_call(BoType.SHARE, MIB))
        assert error == 0, f"1 MiB after that: got {name_of(error)}"
        with works("24 MiB outside the group"):
            client.create_bo(BoType.SHARE, 24 * MIB)

    with memory_group("o11", 32 * MIB) as group:
        in_child(lambda: body(group))


@EXPANDING
@pytest.mark.modes("force-iova")
@pytest.mark.mode
def test_o11_chunk_in_a_full_memory_group(device: Device) -> None:
    """O11: a chunk that found no memory is not in the heap: the next one takes its place.

    Source: amdxdna_gem.c, amdxdna_drm_create_dev_heap_bo() puts the chunk into the heap before
    drm_gem_handle_create() asks for its pages (O02).
    """

    def body(group: Cgroup) -> None:
        heap = Heap(Client.open(device.node))
        with works("first chunk"):
            heap.add_chunk()
        with resident():
            error = charged(group, heap.client.create_bo_call(BoType.DEV_HEAP, CHUNK))
        assert error == errno.ENOMEM, f"second chunk in a group of 32 MiB: got {name_of(error)}"
        with works("second chunk outside the group, and a DEV BO across both"):
            second = heap.add_chunk()
            assert heap.client.bo_info(second.handle).xdna_addr == DEVICE_BASE + CHUNK, "the failed chunk has its place"
            heap.create_dev(96 * MIB)

    with memory_group("o11", 32 * MIB) as group:
        in_child(lambda: body(group))


@EXPANDING
@pytest.mark.stress
@pytest.mark.long
@pytest.mark.modes("sva")  # with force-iova see O11; carveout memory is nobody else's
@pytest.mark.mode
def test_o12_system_full(heap: Heap) -> None:
    """O12: a chunk that the whole system has no memory for cannot be mapped, which kills nobody, and can when there is.

    Source: drm_gem_shmem_helper.c, drm_gem_shmem_get_pages() (__GFP_RETRY_MAYFAIL).
    """
    with works("first chunk and the second, unmapped"):
        heap.add_chunk()
        chunk = heap.create_chunk()
    full = memory.Mapping(memory.mmap(0, memory.PAGE, memory.PROT_RW, memory.MAP_SHARED | memory.MAP_ANONYMOUS), 1)

    def eat() -> None:
        area = memory.anonymous((available() - SPARE) & -memory.PAGE)
        memory.madvise(area.address, area.size, memory.MADV_HUGEPAGE)
        memory.madvise(area.address, area.size, memory.MADV_POPULATE_WRITE)
        full.write(0, b"!")

    with neighbour(eat) as child, resident():
        eventually(lambda: full.read(0, 1) == b"!", "the neighbour has the memory", 30.0)
        error = 0
        try:
            heap.map_chunk(chunk)
        except OSError as refusal:
            error = refusal.errno or 0
        gone, _ = os.waitpid(child, os.WNOHANG)
    full.unmap()
    assert gone == 0, "the process that has the memory was killed"
    assert error == errno.ENOMEM, f"mapping a chunk without memory: got {name_of(error)}"
    with works("DEV BO in the first chunk"):
        heap.create_dev(MIB)
    eventually(lambda: available() > 2 * CHUNK, "the memory is back")
    with works("mapping the chunk, and a DEV BO across both"):
        heap.map_chunk(chunk)
        heap.create_dev(96 * MIB)


@pytest.mark.fw
@pytest.mark.stress
@pytest.mark.modes("sva", "force-iova")  # carveout memory is imported, which SYNC_BO refuses
@pytest.mark.mode
def test_o19_signals_all_the_time(device: Device, npu: Npu) -> None:
    """O19: whatever a signal interrupts ends as EINTR without having done anything, or as if there were no signal.

    Each call is made until it is not interrupted; in the end nothing is left that nobody knows of. Source:
    aie2_ctx.c, aie2_cmd_submit(), down_interruptible(); drm_gem_lock_reservations().
    """

    def body() -> None:
        heap = Heap(Client.open(device.node))
        client = heap.client
        with works("first chunk and a context"):
            heap.add_chunk()
            worker = Worker(heap)
        before, handles = client.usage(), client.create_syncobj()
        client.destroy_syncobj(handles)
        npu.script({"opcode": "CHAIN_EXEC_NPU", "delay": 2 * STORM_EVERY, "count": None})
        storm, rounds = Storm(), 0
        with storm:
            while time.monotonic() < storm.end:
                everything(storm, heap, worker)
                rounds += 1
        npu.reset()
        assert storm.interrupted > rounds / 2 > 1, f"{storm.interrupted} calls were interrupted in {rounds} rounds"
        eventually(lambda: client.usage() == before, f"usage is {before} again")
        assert client.create_syncobj() == handles, "a handle is left that nobody knows of"
        assert client.contexts_alive() == 1
        assert worker.fetch(DEVICE_BASE, 4) is not None

    in_child(body)


class Storm:
    """SIGALRM every few milliseconds, while it is entered."""

    def __init__(self) -> None:
        self.interrupted = 0
        self.end = time.monotonic() + STORM_SECONDS

    def __enter__(self) -> None:
        signal.signal(signal.SIGALRM, lambda number, frame: None)
        signal.setitimer(signal.ITIMER_REAL, STORM_EVERY, STORM_EVERY)

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)

    def through(self, call: Callable[..., T], *arguments: object) -> T:
        """The result of a call, which is made again as long as a signal interrupts it."""
        while True:
            try:
                return call(*arguments)
            except InterruptedError:
                self.interrupted += 1
            except OSError as error:
                name = getattr(call, "__name__", "call")
                raise AssertionError(f"{name}: expected success or EINTR, got {name_of(error.errno)}") from error


def everything(storm: Storm, heap: Heap, worker: Worker) -> None:
    """Every call of a client once, and what it made is given back."""
    client = heap.client
    share = storm.through(client.create_bo, BoType.SHARE, MIB)
    mapping = storm.through(client.map_bo, share, MIB)
    storm.through(client.sync_bo, share, 0, MIB)
    os.close(storm.through(client.export, share))
    dev = storm.through(heap.create_dev, 64 * 1024)
    context = storm.through(client.create_hwctx)
    seq = storm.through(worker.submit, Program().store(worker.result_address, 19), [dev])
    state = storm.through(worker.wait, seq)
    assert state is State.COMPLETED, f"a command ended as {state.name}"
    storm.through(client.destroy_hwctx, context)
    client.unmap(mapping)
    storm.through(client.close_bo, share)
    storm.through(client.close_bo, dev)
