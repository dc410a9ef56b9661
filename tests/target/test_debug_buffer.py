# SPDX-License-Identifier: GPL-2.0-only
"""A context's debug buffer: a DEV BO that firmware writes to when it is asked; attached and detached by commands of the
driver's own, which go the way of a user's.

Source: aie2_ctx.c, aie2_hwctx_cfg_debug_bo(), aie2_hwctx_sync_debug_bo(); aie2_message.c, aie2_config_debug_bo().
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

import pytest

from harness.drm.command import State
from harness.drm.device import Device
from harness.drm.heap import DEVICE_BASE, Heap
from harness.drm.structs import SYNC_FROM_DEVICE
from harness.guest.expect import eventually, falls_asleep, refused, works
from harness.guest.npu import Npu
from harness.guest.program import Program
from harness.guest.worker import Worker

pytestmark = [pytest.mark.fw, pytest.mark.modes("sva", "force-iova")]  # SYNC_BO refuses carveout memory
SIZE = 4096
MAGIC = b"XDBG"
"""What the emulated firmware writes first (harness/npu/README.md); then the number of completed commands."""
INVALID_PARAM = 0x4000003


class Debug:
    """A context on a heap of one chunk, and a DEV BO for its debug data."""

    def __init__(self, heap: Heap) -> None:
        with works("first chunk, a context and a DEV BO"):
            heap.add_chunk()
            self.worker = Worker(heap)
            self.bo = heap.create_dev(SIZE)
        self.client = heap.client
        self.heap = heap

    def attach(self) -> None:
        self.client.attach_debug_bo(self.worker.context, self.bo)

    def detach(self) -> None:
        self.client.detach_debug_bo(self.worker.context, self.bo)

    def sync(self) -> None:
        self.client.sync_bo(self.bo, 0, SIZE, SYNC_FROM_DEVICE)

    def read(self, size: int) -> bytes:
        """What firmware wrote into it."""
        return self.heap.view(self.bo, SIZE).read(0, size)

    def serves(self) -> None:
        """The context must still run commands, and the buffer be one that can be attached."""
        assert self.worker.run(Program().store(self.worker.result_address, 19)) is State.COMPLETED
        with works("attaching, syncing and detaching the buffer"):
            self.attach()
            self.sync()
            self.detach()
        assert self.read(4) == MAGIC


@pytest.fixture(autouse=True)
def _started_anew(npu: Npu, device: Device) -> Iterator[None]:
    """Whatever became of firmware, the next test finds it alive: it starts when the suspended device is used."""
    yield
    npu.reset()
    device.suspend()


@pytest.mark.quick
@pytest.mark.mode
def test_l19_debug_buffer(heap: Heap, npu: Npu) -> None:
    """L19: a debug buffer is attached once, filled on demand, detached once; what does not fit is refused.

    Source: aie2_ctx.c, aie2_hwctx_cfg_debug_bo(); amdxdna_ctx.c, amdxdna_hwctx_sync_debug_bo().
    """
    debug = Debug(heap)
    with refused(errno.EINVAL, "syncing a buffer that is not attached"):
        debug.sync()
    with works("attaching the buffer"):
        debug.attach()
    with refused(errno.EBUSY, "attaching it again"):
        debug.attach()
    assert debug.worker.fetch(DEVICE_BASE, 4) is not None
    with works("syncing it"):
        debug.sync()
    assert debug.read(8) == MAGIC + (1).to_bytes(4, "little")
    with works("detaching it"):
        debug.detach()
    with refused(errno.EINVAL, "detaching it again"):
        debug.detach()
    with refused(errno.EINVAL, "attaching what is no DEV BO"):
        debug.client.attach_debug_bo(debug.worker.context, 4711)


@pytest.mark.quick
@pytest.mark.parametrize("how", ["handle", "context"])
@pytest.mark.mode
def test_l19_ends_while_attached(heap: Heap, npu: Npu, device: Device, how: str) -> None:
    """L19: a debug buffer whose handle is closed, or whose context ends, while it is attached leaves nothing behind.

    Source: aie2_ctx.c, aie2_hwctx_sync_debug_bo() looks the context up by the number that the buffer kept.
    """
    debug = Debug(heap)
    with works("attaching the buffer"):
        debug.attach()
    if how == "handle":
        used = debug.client.usage().heap
        debug.client.close_bo(debug.bo)
        eventually(lambda: debug.client.usage().heap == used - SIZE, "the DEV BO is freed")
    else:
        debug.client.destroy_hwctx(debug.worker.context)
        with refused(errno.EINVAL, "syncing a buffer whose context is gone"):
            debug.sync()
        debug.worker = Worker(heap)
    assert debug.worker.run(Program().store(debug.worker.result_address, 19)) is State.COMPLETED
    falls_asleep(device)


@pytest.mark.parametrize("answer", [{"status": INVALID_PARAM}, {"drop": True}], ids=["refused", "never answered"])
@pytest.mark.parametrize("step", ["attach", "sync", "detach"])
@pytest.mark.mode
def test_l19_firmware_does_not(heap: Heap, npu: Npu, device: Device, step: str, answer: dict[str, object]) -> None:
    """L19: what firmware refuses is EINVAL, and so is what it never answers, after the time that a command is given;
    the context goes on in both cases.

    Source: aie2_ctx.c, aie2_sched_drvcmd_resp_handler(), aie2_sched_job_timedout().
    """
    debug = Debug(heap)
    steps: dict[str, Callable[[], None]] = {"attach": debug.attach, "sync": debug.sync, "detach": debug.detach}
    if step != "attach":
        with works("attaching the buffer"):
            debug.attach()
    since = npu.mark()
    npu.script({"opcode": "SYNC_BO" if step == "sync" else "CONFIG_DEBUG_BO", **answer})
    with refused(errno.EINVAL, step):
        steps[step]()
    if "drop" in answer:
        eventually(lambda: len(npu.messages(since, "CONFIG_CU")) > 0, "the context is set up again")
        # Without the buffer, which the driver still takes for attached: another one takes its place.
        with works("another buffer"):
            debug.client.close_bo(debug.bo)
            debug.bo = heap.create_dev(SIZE)
    elif step != "attach":
        with works("detaching the buffer, accepted"):
            debug.detach()
    debug.serves()
    falls_asleep(device)
