# SPDX-License-Identifier: GPL-2.0-only
"""A process changes its mappings while the NPU uses them: with shared addresses the driver hears of it by a notifier.

Source: amdxdna_gem.c, amdxdna_hmm_invalidate(); aie2_ctx.c, aie2_populate_range(), aie2_cmd_submit().
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from harness.drm import memory
from harness.drm.client import Client
from harness.drm.command import State
from harness.drm.device import Device
from harness.drm.heap import CHUNK, DEVICE_BASE, Heap
from harness.guest.child import in_child
from harness.guest.counters import shared_memory, snapshot
from harness.guest.expect import eventually, name_of, works
from harness.guest.npu import Npu
from harness.guest.program import Program
from harness.guest.worker import Worker, serves

pytestmark = [
    pytest.mark.fw,
    pytest.mark.mode,
    pytest.mark.modes("sva"),  # elsewhere the NPU has addresses of its own, and no notifier
]
EXPANDING = pytest.mark.generations("npu4", "npu5", "npu6")
ROUNDS = 30
INVALIDATIONS = 350
"""In each of three processes: about 1000 in all."""


@pytest.fixture(autouse=True)
def _started_anew(npu: Npu, device: Device) -> Iterator[None]:
    """Whatever became of firmware, the next test finds it alive: it starts when the suspended device is used."""
    yield
    npu.reset()
    device.suspend()


def forked(_: int) -> None:
    """A child that ends at once: it has the mappings, too."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def protected(address: int) -> None:
    """Read-only and back."""
    memory.mprotect(address, CHUNK, memory.PROT_READ)
    memory.mprotect(address, CHUNK, memory.PROT_RW)


def may_be_refused(call: Callable[[], object]) -> None:
    """What the kernel does not allow on such a mapping changes nothing."""
    with suppress(OSError):
        call()


CHANGES: dict[str, Callable[[int], None]] = {
    "mprotect": protected,
    "madvise": lambda address: may_be_refused(lambda: memory.madvise(address, CHUNK, memory.MADV_DONTNEED)),
    "mremap": lambda address: may_be_refused(lambda: memory.mremap(address, CHUNK, CHUNK + memory.PAGE)),
    "fork": forked,
}


@EXPANDING
@pytest.mark.stress
@pytest.mark.parametrize("change", [*CHANGES, "munmap"])
def test_l12_chunk_map_changes_under_commands(heap: Heap, npu: Npu, change: str) -> None:
    """L12: while commands read a chunk its mapping is changed: each completes, or ends with an error if it met a page
    that was not there; when the mapping is whole again every command completes.

    munmap takes the pages away, mprotect for a moment; for a real NPU the kernel would bring them back, the emulated
    one does not ask it to. Source: aie2_ctx.c, aie2_hmm_invalidate(); drm_gem_shmem_helper.c, VM_DONTEXPAND.
    """
    with works("two chunks, a context and a DEV BO in both"):
        heap.add_chunk()
        second = heap.add_chunk()
        worker = Worker(heap)
        argument = heap.create_dev(CHUNK)
    address = DEVICE_BASE + CHUNK
    stop = threading.Event()
    ends: Counter[str] = Counter()

    def commands() -> None:
        while not stop.is_set():
            try:
                state = worker.run(Program().copy(address, worker.result_address, 4), [argument])
                ends[state.name] += 1
            except OSError as error:
                ends[name_of(error.errno)] += 1

    thread = threading.Thread(target=commands)
    thread.start()
    try:
        for _ in range(ROUNDS):
            if change == "munmap":
                heap.unmap_chunk(second)
                heap.map_chunk(second)
            else:
                CHANGES[change](heap.base + CHUNK)
    finally:
        stop.set()
        thread.join()
    pages_go = change in ("munmap", "mprotect")
    assert set(ends) <= {State.COMPLETED.name, *([State.ERROR.name] if pages_go else [])}, dict(ends)
    assert ends[State.COMPLETED.name] > 0
    assert second.mapping is not None
    second.mapping.write(0, b"whole again")
    assert worker.fetch(address, 11, [argument]) == b"whole again"


def test_l12_unmapping_waits_for_the_command(heap: Heap, npu: Npu) -> None:
    """L12: a buffer's mapping does not go away under a command: munmap returns when the command has ended, here by
    force.

    Source: amdxdna_gem.c, amdxdna_hmm_invalidate(); aie2_ctx.c, aie2_hmm_invalidate().
    """
    with works("first chunk, a context and a command that hangs"):
        heap.add_chunk()
        worker = Worker(heap)
        seq = worker.submit(Program().hang())
    heap.client.unmap(worker.result)
    with works("the command has ended when its buffer is unmapped"):
        heap.client.wait(worker.context, seq, 0.0)


def invalidate(worker: Worker) -> None:
    """The mapping of the worker's result is changed, and is again what it was."""
    memory.mprotect(worker.result.address, worker.result.size, memory.PROT_READ)
    memory.mprotect(worker.result.address, worker.result.size, memory.PROT_RW)


def test_l15_command_after_invalidation(heap: Heap, npu: Npu) -> None:
    """L15: a buffer whose mapping was changed is looked up again by the next command, which completes.

    Source: aie2_ctx.c, aie2_populate_range() asks hmm_range_fault(), which refuses a VM_PFNMAP mapping: what
    drm_gem_shmem_mmap() makes (mm/hmm.c, hmm_vma_walk_test()).
    """
    with works("first chunk and a context"):
        heap.add_chunk()
        worker = Worker(heap)
    assert worker.run(Program().store(worker.result_address, 1)) is State.COMPLETED
    invalidate(worker)
    with works("command with a buffer whose mapping was changed"):
        state = worker.run(Program().store(worker.result_address, 15))
    assert state is State.COMPLETED
    assert worker.result.read(0, 8) == (15).to_bytes(8, "little")


@pytest.mark.stress
def test_l15_invalidations_leave_nothing(device: Device, npu: Npu, open_client: Callable[[], Client]) -> None:
    """L15: whatever becomes of commands whose buffer's mapping was changed, the process that ends gives all back, its
    address space too.

    Source: aie2_ctx.c, aie2_populate_range(), mmget_not_zero() and mmput().
    """
    serves(open_client, "before")
    before, spaces = shared_memory(), snapshot()["slab.mm_struct"]

    def body() -> None:
        heap = Heap(Client.open(device.node))
        with works("first chunk and a context"):
            heap.add_chunk()
            worker = Worker(heap)
        for _ in range(INVALIDATIONS):
            invalidate(worker)
            may_be_refused(lambda: worker.run(Program()))

    for _ in range(3):
        in_child(body)
    eventually(lambda: shared_memory() - before < CHUNK // 4, "the memory of the processes is back")
    eventually(lambda: snapshot()["slab.mm_struct"] <= spaces + 2, "the address spaces are gone")
    serves(open_client, "after that")
