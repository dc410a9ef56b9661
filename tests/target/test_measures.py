# SPDX-License-Identifier: GPL-2.0-only
"""Numbers that show what the series changes: counts and bytes, which emulation does not blur. They pass on both lanes.

What the series announces, and what is counted for it: no large heap up front (an idle client; the heap before the
first tensor), growth on demand (chunks for a trace), at the price of messages and system calls. That memory is given
back on demand, too, is not so: test_heap_never_shrinks().

How a client gets its heap is decided by what the driver answers, see harness/guest/replay.py.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.drm.calls import counted
from harness.drm.client import Client, Hwctx
from harness.drm.command import State
from harness.drm.device import Device
from harness.drm.heap import CHUNK, MIB, Heap
from harness.guest import trace as traces
from harness.guest.counters import shared_memory
from harness.guest.expect import eventually, falls_asleep, works
from harness.guest.npu import Npu
from harness.guest.program import Program
from harness.guest.replay import replay
from harness.guest.trace import Step, Trace
from harness.guest.worker import Worker

pytestmark = pytest.mark.generations("npu4", "npu5", "npu6")

SHARED_MEMORY = pytest.mark.modes("sva", "force-iova")
"""Where buffers are shared memory, which the system counts; carveout memory it does not."""
TRACES = Path(__file__).parent / "traces"
PIECE = 3 * CHUNK // 4
NEEDS_TWO_CHUNKS = Trace("two pieces", "", "", (), (Step("first", PIECE), Step("second", PIECE)))
"""What the clients below may come to need: 96 MiB, which do not fit into one chunk."""
TOLERANCE = 16 * MIB
AWAKE_MS = 120_000
HEAP_MESSAGES = ("MAP_HOST_BUFFER", "ADD_HOST_BUFFER")

Measure = Callable[[str, float, str], None]
Opener = Callable[[], Client]


@pytest.fixture(scope="module")
def first_bytes(device: Device) -> int:
    """The heap that a client must have before its first DEV BO, if it may come to need 96 MiB."""
    before = shared_memory()
    first = replay(NEEDS_TWO_CHUNKS, lambda: Client.open(device.node)).first
    eventually(lambda: shared_memory() - before < TOLERANCE, "shared memory is back after finding out")
    return first


@pytest.fixture
def awake(device: Device) -> Iterator[Device]:
    """The device, which does not fall asleep between two operations: its messages would be counted, too."""
    delay = device.autosuspend_ms()
    device.set_autosuspend_ms(AWAKE_MS)
    yield device
    device.set_autosuspend_ms(delay)


@pytest.mark.parametrize("name", traces.names(TRACES))
def test_trace(open_client: Opener, measure: Measure, name: str) -> None:
    """The tensors of a model, as they came and went on the CPU: the heap they take, how it looks after them.

    Source: amdxdna_gem.c, amdxdna_gem_heap_alloc(), amdxdna_drm_create_dev_heap_bo().
    """
    took = replay(traces.load(TRACES, name), open_client)
    measure("heap before the first tensor", took.first, "bytes")
    measure("heap at the end", took.heap, "bytes")
    measure("heap chunks", took.chunks, "")
    measure("in use at most", took.most, "bytes")
    measure("in use at the end", took.live, "bytes")
    measure("free at the end", took.free, "bytes")
    measure("largest free range at the end", took.largest, "bytes")
    measure("system calls", took.calls, "")


@pytest.mark.mode
@SHARED_MEMORY
def test_idle_client(open_client: Opener, first_bytes: int, measure: Measure) -> None:
    """What a client holds that has done nothing yet, but may come to need 96 MiB of heap.

    Source: amdxdna_gem.c, amdxdna_drm_create_dev_heap_bo().
    """
    before = shared_memory()
    heap = Heap(open_client())
    opened = shared_memory() - before
    with works(f"{first_bytes // MIB} MiB of heap"):
        heap.add_chunk(first_bytes)
    held = shared_memory() - before
    measure("shared memory after open", round(opened / MIB), "MiB")
    measure("shared memory with its first heap", round(held / MIB), "MiB")
    measure("heap that the driver counts", heap.client.usage().total, "bytes")
    assert abs(held - first_bytes) < TOLERANCE, f"{held} bytes are held for {first_bytes} bytes of heap"
    heap.client.close()
    heap.release()
    eventually(lambda: shared_memory() - before < TOLERANCE, "shared memory is back after close")


def operations(heap: Heap, first_bytes: int) -> list[tuple[str, Callable[[], object]]]:
    """What an application does, one after the other. The last leaves one context."""
    client = heap.client
    contexts: list[Hwctx] = []

    def create_context() -> None:
        contexts.append(client.create_hwctx())

    return [
        ("first heap", lambda: heap.add_chunk(first_bytes)),
        ("context", create_context),
        ("DEV BO that fits", lambda: heap.allocate(PIECE)),
        ("DEV BO beyond 64 MiB", lambda: heap.allocate(PIECE)),
        ("second context", create_context),
        ("destroying a context", lambda: client.destroy_hwctx(contexts.pop())),
    ]


def test_system_calls(heap: Heap, first_bytes: int, measure: Measure) -> None:
    """How many system calls each operation takes, of a user space that makes no needless one.

    Source: amdxdna_gem.c, amdxdna_init_dev_bo(): EAGAIN costs a refused call, a chunk and a second try.
    """
    for name, operation in operations(heap, first_bytes):
        with counted() as calls, works(name):
            operation()
        assert calls, f"{name} went past the counter"
        measure(f"{name}: system calls", calls.total(), "")


@pytest.mark.fw
def test_messages(heap: Heap, first_bytes: int, npu: Npu, awake: Device, measure: Measure) -> None:
    """How many messages firmware gets for each operation, and how many of them are about the heap.

    Source: aie2_message.c, aie2_map_host_buf(), aie2_add_host_buf(); amdxdna_ctx.c, amdxdna_update_heap().
    """
    heap.client.contexts_alive()  # wakes the device

    def count(name: str, operation: Callable[[], object]) -> Counter[str]:
        since = npu.mark()
        with works(name):
            operation()
        told = Counter(str(message["name"]) for message in npu.messages(since))
        measure(f"{name}: messages", told.total(), "")
        for message in HEAP_MESSAGES:
            measure(f"{name}: {message}", told[message], "")
        return told

    for name, operation in operations(heap, first_bytes):
        count(name, operation)
    worker = Worker(heap)
    told = count("command", lambda: worker.run(Program()))
    assert told.total() == 1, f"a command is one message, not {dict(told)}"
    falls_asleep(awake)
    told = count("waking up", heap.client.contexts_alive)
    assert told["MAP_HOST_BUFFER"] == 2, f"both contexts hear of their heap again, not {dict(told)}"
    assert worker.run(Program()) is State.COMPLETED
    assert npu.trouble(0) == []


@pytest.mark.mode
@SHARED_MEMORY
def test_heap_never_shrinks(open_client: Opener, first_bytes: int, measure: Measure) -> None:
    """Memory comes on demand and goes at close only: freeing all DEV BOs, unmapping the chunks and closing their
    handles gives nothing back. Firmware has no message to take a buffer away (the series says so itself).

    Source: amdxdna_pci_drv.c, amdxdna_client_cleanup(); aie2_msg_priv.h, enum aie2_msg_opcode.
    """
    before = shared_memory()
    heap = Heap(open_client())
    client = heap.client
    with works("a heap with 96 MiB in use"):
        heap.add_chunk(first_bytes)
        devs = [heap.allocate(PIECE) for _ in range(2)]
    held = shared_memory() - before
    for dev in devs:
        client.close_bo(dev)
    for chunk in heap.chunks:
        heap.unmap_chunk(chunk)
        client.close_bo(chunk.handle)
    time.sleep(0.5)  # the driver lets go of a mapping in a work queue
    kept = shared_memory() - before
    measure("shared memory kept", round(kept / MIB), "MiB")
    assert (client.usage().total, client.usage().heap) == (0, 0)
    assert abs(kept - held) < TOLERANCE, f"{held - kept} bytes of {held} were given back before close"
    client.close()
    heap.release()
    eventually(lambda: shared_memory() - before < TOLERANCE, "shared memory is back after close")
