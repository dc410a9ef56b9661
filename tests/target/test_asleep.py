# SPDX-License-Identifier: GPL-2.0-only
"""What user space does to a context's heap just before the device sleeps. A file of its own: on 7.3 the device is of no
use to anybody afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from harness.drm.client import Client
from harness.drm.device import Device
from harness.drm.heap import Heap
from harness.drm.structs import INVALID
from harness.guest.counters import mailboxes
from harness.guest.expect import eventually, falls_asleep, works
from harness.guest.npu import Npu
from harness.guest.worker import serves

TRIES = 3


@pytest.mark.fw
@pytest.mark.spoils
@pytest.mark.modes("sva")  # elsewhere a chunk keeps its address
@pytest.mark.mode
def test_e26_chunk_unmapped_while_asleep(open_client: Callable[[], Client], npu: Npu, device: Device) -> None:
    """E26: a process that unmaps the chunk of its context, and lets the device sleep, may spoil its own context, but
    nobody else's: once its file is closed a new one is served.

    Source: aie2_ctx.c, aie2_hwctx_restart() announces the chunk without asking whether it is mapped;
    amdxdna_pm.c, amdxdna_pm_resume_get().
    """
    heap = Heap(open_client())
    with works("first chunk and a context"):
        chunk = heap.add_chunk()
        heap.client.create_hwctx()
    heap.unmap_chunk(chunk)
    eventually(lambda: heap.client.bo_info(chunk.handle).vaddr == INVALID, "the driver knows that it is unmapped")
    falls_asleep(device)
    for _ in range(TRIES):
        with suppress(OSError):
            heap.client.contexts_alive()  # wakes the device
    heap.client.close()
    heap.release()
    falls_asleep(device)
    left = mailboxes()
    serves(open_client, "after a file whose chunk was unmapped is closed")
    assert left <= 1, f"{left} channels of a file that is closed"
