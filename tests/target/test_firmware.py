# SPDX-License-Identifier: GPL-2.0-only
"""What the driver tells firmware about the heap, and what the NPU sees through it.

The emulated NPU logs every message and keeps books on the heap: a chunk that is not announced, announced
twice or at a wrong address is an error of its own, and commands find their addresses through these books.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from harness.drm.command import State
from harness.drm.device import Device
from harness.drm.heap import CHUNK, DEVICE_BASE, MIB, Heap
from harness.guest.expect import eventually, falls_asleep, name_of, works
from harness.guest.npu import Entry, Npu, buffers
from harness.guest.program import Program
from harness.guest.worker import Worker

pytestmark = [pytest.mark.fw, pytest.mark.generations("npu4", "npu5", "npu6")]

HEAP_MESSAGES = ("MAP_HOST_BUFFER", "ADD_HOST_BUFFER")
BORDER = 128 * 1024


def spanning(heap: Heap) -> int:
    """A DEV BO of 128 KiB, half of it in the last 64 KiB of the first chunk. Both chunks must be mapped."""
    start = heap.client.bo_info(heap.create_dev(4096)).xdna_addr
    heap.create_dev(DEVICE_BASE + CHUNK - BORDER // 2 - (start + 32 * 1024))
    return heap.create_dev(BORDER)


def expect_messages(messages: Sequence[Entry], *names: str) -> None:
    """Firmware must have been told exactly this, in this order."""
    got = [str(message["name"]) for message in messages]
    assert got == list(names), f"firmware was told {', '.join(got) or 'nothing'}, not {', '.join(names)}"


@pytest.mark.quick
@pytest.mark.mode
def test_e11_data_across_the_border(heap: Heap, npu: Npu) -> None:
    """E11: a DEV BO across two chunks is one piece of memory: for the process, by chunk, for the NPU.

    Source: amdxdna_gem.c, amdxdna_init_dev_bo().
    """
    with works("two chunks and a context"):
        first, second = heap.add_chunk(), heap.add_chunk()
        worker = Worker(heap)
    with works("DEV BO across the border"):
        dev = spanning(heap)
    info = heap.client.bo_info(dev)
    assert info.xdna_addr == DEVICE_BASE + CHUNK - BORDER // 2
    assert first.mapping is not None
    assert second.mapping is not None
    left, right = bytes(range(256)) * 256, bytes(range(255, -1, -1)) * 256
    first.mapping.write(CHUNK - BORDER // 2, left)
    second.mapping.write(0, right)
    assert heap.view(dev, BORDER).read(0, BORDER) == left + right
    assert worker.fetch(info.xdna_addr, BORDER, [dev]) == left + right
    state = worker.run(Program().fill(info.xdna_addr + BORDER // 2 - 4, 8, 0x600DF00D), [dev])
    assert state is State.COMPLETED
    assert second.mapping.read(0, 4) == first.mapping.read(CHUNK - 4, 4) == bytes.fromhex("0df00d60")


@pytest.mark.quick
@pytest.mark.mode
def test_e22_expansion_is_announced(heap: Heap, npu: Npu) -> None:
    """E22: with a context, a new chunk is announced once, when the next DEV BO is created, and usable then.

    Source: amdxdna_ctx.c, amdxdna_update_heap(); aie2_message.c, aie2_add_host_buf().
    """
    with works("first chunk and a context"):
        heap.add_chunk()
        worker = Worker(heap)
    context = buffers(npu.messages(0, "MAP_HOST_BUFFER"))[-1][0]
    since = npu.mark()
    with works("second chunk"):
        second = heap.add_chunk()
    assert npu.messages(since, *HEAP_MESSAGES) == [], "a chunk is announced by the next DEV BO only"
    with works("DEV BO across the border"):
        dev = spanning(heap)
    messages = npu.messages(since, *HEAP_MESSAGES)
    expect_messages(messages, "ADD_HOST_BUFFER")
    assert [(where, size) for where, _, size in buffers(messages)] == [(context, CHUNK)]
    assert second.mapping is not None
    second.mapping.write(0, b"second chunk")
    assert worker.fetch(DEVICE_BASE + CHUNK, 12, [dev]) == b"second chunk"
    assert npu.trouble(since) == []


@pytest.mark.quick
@pytest.mark.mode
def test_e23_chunks_before_the_context(heap: Heap, npu: Npu) -> None:
    """E23: a context that finds two chunks maps the first and adds the second, in this order, once.

    Source: aie2_ctx.c, aie2_hwctx_init().
    """
    with works("first chunk"):
        heap.add_chunk()
    with works("second chunk"):
        second = heap.add_chunk()
    since = npu.mark()
    with works("context on two chunks"):
        worker = Worker(heap)
    messages = npu.messages(since, *HEAP_MESSAGES)
    expect_messages(messages, *HEAP_MESSAGES)
    assert [size for _, _, size in buffers(messages)] == [CHUNK, CHUNK]
    assert second.mapping is not None
    second.mapping.write(100, b"found")
    assert worker.fetch(DEVICE_BASE + CHUNK + 100, 5) == b"found"
    assert npu.trouble(since) == []


@pytest.mark.quick
@pytest.mark.mode
def test_e23_context_in_the_second_chunk(heap: Heap, npu: Npu) -> None:
    """E23: a context for which there is room in the second chunk only has its command buffers there; all four work.

    Source: amdxdna_gem.c, amdxdna_init_dev_bo(), amdxdna_gem_dev_obj_vmap().
    """
    with works("first chunk, full, and a second"):
        heap.add_chunk()
        heap.create_dev(CHUNK)
        heap.add_chunk()
    since = npu.mark()
    with works("context"):
        worker = Worker(heap)
    for number in range(1, 6):
        state = worker.run(Program().store(worker.result_address, number))
        assert state is State.COMPLETED, f"command {number} ended as {state.name}"
        assert worker.result.read(0, 8) == number.to_bytes(8, "little")
    assert npu.trouble(since) == []


@pytest.mark.mode
def test_e24_large_first_chunk(heap: Heap, npu: Npu) -> None:
    """E24: a first chunk of 256 MiB is announced in pieces of 64 MiB, each 64 MiB further on.

    Source: aie2_message.c, aie2_send_host_buf_msgs(); before the series one MAP_HOST_BUFFER of 256 MiB.
    """
    with works("first chunk of 256 MiB"):
        chunk = heap.add_chunk(4 * CHUNK)
    since = npu.mark()
    with works("context on it"):
        worker = Worker(heap)
    messages = npu.messages(since, *HEAP_MESSAGES)
    expect_messages(messages, "MAP_HOST_BUFFER", *["ADD_HOST_BUFFER"] * 3)
    told = buffers(messages)
    assert [size for _, _, size in told] == [CHUNK] * 4
    assert [address - told[0][1] for _, address, _ in told] == [0, CHUNK, 2 * CHUNK, 3 * CHUNK]
    assert chunk.mapping is not None
    chunk.mapping.write(3 * CHUNK + 8, b"last piece")
    assert worker.fetch(DEVICE_BASE + 3 * CHUNK + 8, 10) == b"last piece"
    assert npu.trouble(since) == []


@pytest.mark.quick
@pytest.mark.mode
def test_e25_two_contexts(heap: Heap, npu: Npu) -> None:
    """E25: a new chunk is announced to each context once; further DEV BOs in it say nothing.

    Source: amdxdna_ctx.c, amdxdna_update_heap().
    """
    with works("first chunk and two contexts"):
        heap.add_chunk()
        workers = [Worker(heap), Worker(heap)]
    contexts = {where for where, _, _ in buffers(npu.messages(0, "MAP_HOST_BUFFER")[-2:])}
    since = npu.mark()
    with works("second chunk"):
        second = heap.add_chunk()
    with works("DEV BO across the border"):
        spanning(heap)
    messages = npu.messages(since, *HEAP_MESSAGES)
    expect_messages(messages, *["ADD_HOST_BUFFER"] * 2)
    assert {where for where, _, _ in buffers(messages)} == contexts
    later = npu.mark()
    with works("two more DEV BOs in the second chunk"):
        heap.create_dev(MIB)
        heap.create_dev(MIB)
    assert npu.messages(later, *HEAP_MESSAGES) == []
    assert second.mapping is not None
    second.mapping.write(0, b"both see it")
    assert [worker.fetch(DEVICE_BASE + CHUNK, 11) for worker in workers] == [b"both see it"] * 2
    assert npu.trouble(since) == []


@pytest.mark.mode
def test_e26_replay_after_autosuspend(heap: Heap, npu: Npu, device: Device) -> None:
    """E26: waking up from a runtime suspend brings all back: context, chunks, compute units, in order.

    Woken by a command: the series as posted, without its follow-up 928caf71e566, stays asleep for a DEV BO that needs
    no new chunk. Source: aie2_ctx.c, aie2_hwctx_restart().
    """
    with works("first chunk and a context"):
        heap.add_chunk()
        worker = Worker(heap)
    with works("second chunk"):
        second = heap.add_chunk()
    with works("DEV BO across the border"):
        dev = spanning(heap)
    assert second.mapping is not None
    second.mapping.write(0, b"kept")
    falls_asleep(device)
    since = npu.mark()
    assert worker.fetch(DEVICE_BASE + CHUNK, 4, [dev]) == b"kept"
    wanted = ("CREATE_CONTEXT", *HEAP_MESSAGES, "CONFIG_CU")
    expect_messages(npu.messages(since, *wanted), *wanted)
    with works("DEV BO after the suspend"):
        heap.create_dev(MIB)
    assert npu.trouble(since) == []


def test_e25_dev_bos_at_once(heap: Heap, npu: Npu) -> None:
    """E25: DEV BOs that threads create at the same time announce a new chunk once.

    Source: amdxdna_ctx.c, amdxdna_update_heap() holds its locks from the first message to the last (928caf71e566).
    """
    with works("first chunk and a context"):
        heap.add_chunk()
        worker = Worker(heap)
    trouble: list[str] = []

    def create() -> None:
        try:
            heap.create_dev(MIB)
        except OSError as error:
            trouble.append(name_of(error.errno))

    for number in range(2, 5):
        with works(f"chunk {number}"):
            heap.add_chunk()
        since = npu.mark()
        threads = [threading.Thread(target=create) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not trouble, f"chunk {number}: {trouble}"
        expect_messages(npu.messages(since, *HEAP_MESSAGES), "ADD_HOST_BUFFER")
        assert npu.trouble(since) == []
    assert worker.fetch(DEVICE_BASE + 3 * CHUNK, 4) == bytes(4)


@pytest.mark.mode
def test_e26_expansion_while_asleep(heap: Heap, npu: Npu, device: Device) -> None:
    """E26: a DEV BO that expands the heap wakes the device: the context is set up again, then the chunk announced.

    Source: amdxdna_ctx.c, amdxdna_update_heap().
    """
    with works("first chunk and a context"):
        heap.add_chunk()
        worker = Worker(heap)
    falls_asleep(device)
    since = npu.mark()
    with works("second chunk"):
        second = heap.add_chunk()
    with works("DEV BO across the border while the device sleeps"):
        dev = spanning(heap)
    wanted = ("CREATE_CONTEXT", "MAP_HOST_BUFFER", "CONFIG_CU", "ADD_HOST_BUFFER")
    expect_messages(npu.messages(since, *wanted), *wanted)
    assert second.mapping is not None
    second.mapping.write(0, b"awake")
    assert worker.fetch(DEVICE_BASE + CHUNK, 5, [dev]) == b"awake"
    assert npu.trouble(since) == []


def test_e26_chunk_that_nobody_asked_for(heap: Heap, npu: Npu, device: Device) -> None:
    """E26: a chunk that is there when the device wakes up, but was announced by no DEV BO yet, is announced once.

    Source: aie2_ctx.c, aie2_hwctx_restart(), last_attached_heap.
    """
    with works("first chunk and a context"):
        heap.add_chunk()
        worker = Worker(heap)
    with works("second chunk, and no DEV BO"):
        heap.add_chunk()
    falls_asleep(device)
    since = npu.mark()
    worker.fetch(DEVICE_BASE, 4)
    with works("DEV BO that announces the chunk"):
        heap.create_dev(MIB)
    expect_messages(npu.messages(since, *HEAP_MESSAGES), *HEAP_MESSAGES)
    assert worker.fetch(DEVICE_BASE + CHUNK, 4) == bytes(4)
    assert npu.trouble(since) == []


@pytest.mark.mode
def test_e26_large_first_chunk(heap: Heap, npu: Npu, device: Device) -> None:
    """E26: waking up announces all pieces of a large first chunk again.

    Source: aie2_ctx.c, aie2_hwctx_restart(); aie2_message.c, aie2_send_host_buf_msgs().
    """
    with works("first chunk of 128 MiB and a context"):
        chunk = heap.add_chunk(2 * CHUNK)
        worker = Worker(heap)
    assert chunk.mapping is not None
    chunk.mapping.write(CHUNK, b"second piece")
    falls_asleep(device)
    since = npu.mark()
    assert worker.fetch(DEVICE_BASE + CHUNK, 12) == b"second piece"
    expect_messages(npu.messages(since, *HEAP_MESSAGES), *HEAP_MESSAGES)
    assert npu.trouble(since) == []


def test_e28_replay_after_hang(heap: Heap, npu: Npu) -> None:
    """E28: a command that hangs is given up; its context comes back with all chunks and works.

    Source: aie2_ctx.c, aie2_sched_job_timedout().
    """
    with works("first chunk and a context"):
        heap.add_chunk()
        worker = Worker(heap)
    with works("second chunk"):
        second = heap.add_chunk()
    with works("DEV BO across the border"):
        dev = spanning(heap)
    since = npu.mark()
    assert worker.run(Program().hang(), [dev]) is State.TIMEOUT
    wanted = ("DESTROY_CONTEXT", "CREATE_CONTEXT", *HEAP_MESSAGES, "CONFIG_CU")
    eventually(lambda: len(npu.messages(since, "CONFIG_CU")) > 0, "the context is set up again")
    expect_messages(npu.messages(since, *wanted), *wanted)
    assert second.mapping is not None
    second.mapping.write(0, b"after the hang")
    assert worker.fetch(DEVICE_BASE + CHUNK, 14, [dev]) == b"after the hang"
    assert npu.trouble(since) == []


@pytest.mark.quick
def test_e32_new_context_after_expansion(heap: Heap, npu: Npu) -> None:
    """E32: a context that is created after another was destroyed hears of all chunks again.

    Source: aie2_ctx.c, aie2_hwctx_init(); amdxdna_ctx.c, amdxdna_hwctx_release_expanded_heap().
    """
    with works("first chunk and a context"):
        heap.add_chunk()
        old = Worker(heap)
    with works("second chunk"):
        second = heap.add_chunk()
    with works("DEV BO across the border"):
        spanning(heap)
        heap.client.destroy_hwctx(old.context)
    since = npu.mark()
    with works("another context"):
        worker = Worker(heap)
    messages = npu.messages(since, *HEAP_MESSAGES)
    expect_messages(messages, *HEAP_MESSAGES)
    assert len({where for where, _, _ in buffers(messages)}) == 1
    assert second.mapping is not None
    second.mapping.write(0, b"again")
    assert worker.fetch(DEVICE_BASE + CHUNK, 5) == b"again"
    assert npu.trouble(since) == []


@pytest.mark.quick
@pytest.mark.mode
def test_e33_argument_across_the_border(heap: Heap, npu: Npu) -> None:
    """E33: a DEV BO in two chunks can be a command's argument; freed afterwards, its place is used again.

    Source: amdxdna_gem.c, amdxdna_gem_pin_nolock(), amdxdna_gem_dev_obj_free().
    """
    with works("two chunks and a context"):
        heap.add_chunk()
        heap.add_chunk()
        worker = Worker(heap)
    with works("DEV BO across the border"):
        dev = spanning(heap)
    client, place = heap.client, heap.client.bo_info(dev).xdna_addr
    used = client.usage().heap
    assert worker.run(Program().store(place, 0x1122334455667788), [dev]) is State.COMPLETED
    client.close_bo(dev)
    # The scheduler lets go of a finished command a little later than its fence says.
    eventually(lambda: client.usage().heap == used - BORDER, "the DEV BO is freed")
    with works("DEV BO of the same size"):
        again = heap.create_dev(BORDER)
    assert client.bo_info(again).xdna_addr == place
    assert worker.fetch(place, 8, [again])[::-1] == bytes.fromhex("1122334455667788")
