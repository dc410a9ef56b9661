# SPDX-License-Identifier: GPL-2.0-only
"""Firmware that refuses in the middle, is late or answers nonsense: the error is clean, the next start works."""

from __future__ import annotations

import errno
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from harness.drm.client import Client
from harness.drm.device import Device
from harness.drm.heap import CHUNK, MIB, Heap
from harness.drm.structs import Array, Info
from harness.guest.counters import mailboxes
from harness.guest.expect import eventually, falls_asleep, refused, works
from harness.guest.npu import Npu, buffers
from harness.guest.variant import Variant
from harness.guest.worker import Worker, serves

pytestmark = pytest.mark.fw
EXPANDING = pytest.mark.generations("npu4", "npu5", "npu6")
INVALID_PARAM = 0x4000003
TELEMETRY_BYTES = 4096
COLUMNS = 8
"""So many buffers for asynchronous errors firmware gets: one for each column. NPU1 has fewer."""
LATE_SECONDS = 6.0
"""Longer than the driver waits for an answer: 5 s (amdxdna_mailbox_helper.c, RX_TIMEOUT)."""


def expanded(client: Client) -> Heap:
    """A context on one chunk, and a second chunk that firmware has not heard of."""
    heap = Heap(client)
    with works("first chunk and a context"):
        heap.add_chunk()
        client.create_hwctx()
    with works("second chunk"):
        heap.add_chunk()
    return heap


@pytest.fixture(autouse=True)
def _started_anew(npu: Npu, device: Device) -> Iterator[None]:
    """Whatever became of firmware, the next test finds it alive: it starts when the suspended device is used."""
    yield
    npu.reset()
    device.suspend()


def starts_again(open_client: Callable[[], Client], npu: Npu, device: Device) -> None:
    """Firmware that was started again must serve a new client."""
    npu.reset()
    falls_asleep(device)
    serves(open_client, "after firmware was started again")


@EXPANDING
@pytest.mark.modes("sva")  # elsewhere the address is there before the chunk is mapped: amdxdna_obj_dma_addr()
@pytest.mark.mode
@pytest.mark.quick
def test_e30_unmapped_chunk_is_not_announced(heap: Heap, npu: Npu) -> None:
    """E30: firmware must not be told of a chunk that is not mapped: it has no address yet.

    Source: amdxdna_ctx.c, amdxdna_hwctx_expand_heap() announces every chunk; aie2_message.c sends what
    amdxdna_obj_dma_addr() gives, which of an unmapped chunk is all ones.
    """
    with works("first chunk and a context"):
        heap.add_chunk()
        Worker(heap)
    with works("second chunk, left unmapped"):
        second = heap.create_chunk()
    since = npu.mark()
    with works("DEV BO in the first chunk"):
        heap.create_dev(4096)
    assert npu.trouble(since) == []
    with works("mapping the second chunk, and a DEV BO"):
        heap.map_chunk(second)
        heap.create_dev(4096)
    assert [size for _, _, size in buffers(npu.messages(since, "ADD_HOST_BUFFER"))] == [CHUNK]


@EXPANDING
def test_o21_refused_in_the_middle_of_a_chunk(heap: Heap, npu: Npu) -> None:
    """O21: a chunk of 128 MiB of which firmware refuses the second half: the DEV BO fails and leaves nothing, and
    the next one begins with the first half again, which firmware has: there is no message that takes one back.

    Source: aie2_message.c, aie2_send_host_buf_msgs(); amdxdna_ctx.c, amdxdna_hwctx_expand_heap().
    """
    with works("first chunk and a context"):
        heap.add_chunk()
        heap.client.create_hwctx()
    with works("chunk of 128 MiB"):
        heap.add_chunk(2 * CHUNK)
    used, since = heap.client.usage().heap, npu.mark()
    npu.script({"opcode": "ADD_HOST_BUFFER", "skip": 1, "status": INVALID_PARAM})
    with refused(errno.EINVAL, "DEV BO while firmware refuses half a chunk"):
        heap.create_dev(MIB)
    assert heap.client.usage().heap == used, "the refused DEV BO is still counted"
    first, second = (address for _, address, _ in buffers(npu.messages(since, "ADD_HOST_BUFFER")))
    assert second == first + CHUNK
    later = npu.mark()
    # Whether firmware takes the first half twice is its own affair; the emulated one does not.
    with refused(errno.EINVAL, "DEV BO when firmware is told of the first half again"):
        heap.create_dev(MIB)
    assert [address for _, address, _ in buffers(npu.messages(later, "ADD_HOST_BUFFER"))] == [first]


@EXPANDING
def test_o25_answer_after_the_timeout(open_client: Callable[[], Client], npu: Npu, device: Device) -> None:
    """O25: an answer that comes when nobody waits any more hurts nobody.

    Source: amdxdna_mailbox_helper.c, xdna_send_msg_wait(); aie.c, aie_send_mgmt_msg_wait() destroys the channel.
    """
    heap = expanded(open_client())
    since, started = npu.mark(), time.monotonic()
    npu.script({"opcode": "ADD_HOST_BUFFER", "delay": LATE_SECONDS})
    with refused(errno.ETIME, "DEV BO while firmware is late"):
        heap.create_dev(MIB)
    time.sleep(max(0.0, LATE_SECONDS + 0.5 - (time.monotonic() - started)))
    assert [message["action"] for message in npu.messages(since, "ADD_HOST_BUFFER")] == ["late"]
    with refused(errno.ENODEV, "DEV BO after firmware was late"):
        heap.create_dev(MIB)
    heap.client.close()
    starts_again(open_client, npu, device)


@EXPANDING
@pytest.mark.parametrize(("malform", "number"), [("size", errno.EINVAL), ("id", errno.ETIME), ("tail", errno.ETIME)])
def test_o26_malformed_answer(
    open_client: Callable[[], Client], npu: Npu, device: Device, malform: str, number: int
) -> None:
    """O26: an answer of the wrong size is an error at once; one that no message asked for, or a broken ring, stops the
    channel, and whoever waits is told after 5 s.

    Source: amdxdna_mailbox_helper.c, xdna_msg_cb(); amdxdna_mailbox.c, mailbox_get_msg(), mailbox_rx_worker().
    """
    heap = expanded(open_client())
    npu.script({"opcode": "ADD_HOST_BUFFER", "malform": malform})
    with refused(number, f"DEV BO whose answer is malformed ({malform})"):
        heap.create_dev(MIB)
    heap.client.close()
    starts_again(open_client, npu, device)


def test_o26_answer_that_is_too_short(client: Client, npu: Npu) -> None:
    """O26: an answer with four bytes too few is an error, not an answer with four bytes of something else.

    Source: amdxdna_mailbox_helper.c, xdna_msg_cb().
    """
    with works("query"):
        client.get_info(Info.TELEMETRY, TELEMETRY_BYTES)
    npu.script({"opcode": "GET_TELEMETRY", "malform": "short"})
    with refused(errno.EINVAL, "query whose answer is too short"):
        client.get_info(Info.TELEMETRY, TELEMETRY_BYTES)


def test_o26_each_error_is_told(client: Client, npu: Npu) -> None:
    """O26: each asynchronous error of the array is told, also when there are more than buffers for them.

    Source: aie2_error.c, aie2_error_worker() gives the buffer to firmware again; as many as there are columns.
    """

    def last() -> tuple[int, int]:
        """When the last error was, in us, and where."""
        answer = client.get_array(Array.HW_LAST_ASYNC_ERR, bytes(24))[0]
        _, when, where = struct.unpack("<QQQ", answer)
        return when, where

    when, where = last()
    for number in range(COLUMNS + 2):
        told = npu.error(col=number % 2)
        assert told, f"firmware has no buffer for error {number + 1}"
        before = when
        eventually(lambda before=before: last()[0] > before, f"error {number + 1} is told")  # type: ignore[misc]
        when, where = last()
        assert where & 0xFF == number % 2, f"error {number + 1} is told of column {where & 0xFF}"


@EXPANDING
def test_o27_chunk_refused_at_waking(open_client: Callable[[], Client], npu: Npu, device: Device) -> None:
    """O27: when firmware refuses a chunk at waking up, the use that woke the device fails; a new client is served.

    Source: aie2_ctx.c, aie2_hwctx_restart().
    """
    heap = Heap(open_client())
    with works("two chunks and a context"):
        heap.add_chunk()
        heap.add_chunk()
        Worker(heap)
    falls_asleep(device)
    npu.script({"opcode": "ADD_HOST_BUFFER", "status": INVALID_PARAM})
    with refused(errno.EINVAL, "query while firmware refuses a chunk"):
        heap.client.contexts_alive()
    heap.client.close()
    heap.release()
    starts_again(open_client, npu, device)


@pytest.mark.parametrize("opcode", ["CREATE_CONTEXT", "MAP_HOST_BUFFER"])
def test_l05_context_whose_message_is_lost(
    open_client: Callable[[], Client], npu: Npu, device: Device, opcode: str
) -> None:
    """L05: a message of a context that firmware never answers costs 5 s, and leaves nothing once firmware starts again.

    Source: aie2_message.c, aie2_create_context(), aie2_map_host_buf().
    """
    heap = Heap(open_client())
    with works("first chunk"):
        heap.add_chunk()
    npu.script({"opcode": opcode, "drop": True})
    with refused(errno.ETIME, f"context while firmware is silent at {opcode}"):
        heap.client.create_hwctx()
    heap.client.close()
    heap.release()
    starts_again(open_client, npu, device)
    eventually(lambda: mailboxes() == 1, "the interrupts of the contexts are given back")


@pytest.mark.spoils
# Last, since 7.3 keeps the context's channel, which the next test would find.
def test_o28_power_level_is_refused(heap: Heap, npu: Npu, variant: Variant) -> None:
    """O28: when the power level for a context cannot be set there is no context, and nothing of it is left.

    The device is awake by then, at its lowest level: a start sets the last one again, and the SMU is asked for another
    only. Source: aie2_solver.c, xrs_allocate_resource(), xrs_release_resource(), set_dpm_level(); npu1_regs.c,
    npu1_set_dpm(); npu4_regs.c, npu4_set_dpm().
    """
    with works("first chunk, and a context that comes and goes"):
        heap.add_chunk()
        heap.client.destroy_hwctx(heap.client.create_hwctx())
    npu.script({"smu": "SET_MPNPUCLK" if variant.npu == "npu1" else "SET_HARD_DPM", "status": 0xFF, "count": None})
    with refused(errno.EINVAL, "context while its power level is refused"):
        heap.client.create_hwctx()
    npu.reset()
    assert heap.client.contexts_alive() == 0
    assert mailboxes() == 1, "the context's interrupt is left"
    with works("context when its power level is accepted"):
        heap.client.create_hwctx()
    assert heap.client.contexts_alive() == 1
