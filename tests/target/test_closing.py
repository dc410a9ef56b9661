# SPDX-License-Identifier: GPL-2.0-only
"""A file is closed, and its context is not gone yet. What goes wrong here spoils memory: a guest of its own."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from harness.drm.client import Client
from harness.drm.command import State
from harness.drm.heap import Heap
from harness.drm.structs import BoType
from harness.guest.expect import works
from harness.guest.npu import Npu
from harness.guest.program import Program
from harness.guest.worker import Worker, serves

pytestmark = [pytest.mark.fw, pytest.mark.generations("npu4", "npu5", "npu6")]
HANDLES = 20_000
"""They take 0.3 s to close, and to create ten times as long."""
SLOW_SECONDS = 1.0


@pytest.mark.stress
@pytest.mark.long
@pytest.mark.parametrize("early", [0.05, 0.15, 0.25])
def test_l30_timeout_while_closing(open_client: Callable[[], Client], npu: Npu, early: float) -> None:
    """L30: a command timed out, and while its context is set up again the file is closed, of which the handles go
    first: no buffer is touched that is gone.

    Firmware is slow to take the heap, and answers while the handles are being closed; a program that ends when its
    command timed out meets it by chance. Source: drm_file.c, drm_file_free() calls drm_gem_release() before the
    driver's postclose; aie2_ctx.c, aie2_sched_job_timedout(), aie2_hwctx_restart(), aie2_config_cu().
    """
    heap = Heap(open_client())
    with works("first chunk, a context, many buffers and a command that hangs"):
        heap.add_chunk()
        worker = Worker(heap)
        for _ in range(HANDLES):
            heap.client.create_bo(BoType.SHARE, 4096)
        seq = worker.submit(Program().hang())
    npu.script({"opcode": "MAP_HOST_BUFFER", "delay": SLOW_SECONDS})
    assert worker.wait(seq) is State.TIMEOUT
    time.sleep(SLOW_SECONDS - early)
    heap.client.close()
    heap.release()
    npu.reset()
    serves(open_client, "after that")
