# SPDX-License-Identifier: GPL-2.0-only
"""Two threads that wait for each other for ever take the driver with them. Then the guest is given up, so that no other
test meets it: the test is lost."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from harness.drm.client import Client
from harness.drm.device import Device
from harness.drm.heap import Heap
from harness.guest.expect import eventually, works
from harness.guest.npu import Npu

RACE_SECONDS = 3.0
LIMIT_SECONDS = 25.0
"""A chunk takes 3 s where it takes longest."""


def race(device: Device) -> None:
    """Contexts come and go while a chunk is created, which with force_iova takes a while."""
    heap = Heap(Client.open(device.node))
    with works("first chunk"):
        heap.add_chunk()
    stop = time.monotonic() + RACE_SECONDS

    def contexts() -> None:
        while time.monotonic() < stop:
            heap.client.destroy_hwctx(heap.client.create_hwctx())

    threads = [threading.Thread(target=body) for body in (contexts, heap.create_chunk)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def give_up() -> None:
    """Write the stacks of what hangs to the kernel's log, and end the guest (Documentation/admin-guide/sysrq.rst)."""
    for key in "wc":
        Path("/proc/sysrq-trigger").write_text(key)


@pytest.mark.generations("npu4", "npu5", "npu6")
@pytest.mark.modes("force-iova")  # elsewhere a buffer is opened in no time: lockdep alone sees it
@pytest.mark.mode
@pytest.mark.root
@pytest.mark.stress
@pytest.mark.fw
def test_l35_chunk_against_context(device: Device, npu: Npu) -> None:
    """L35: a thread that creates a chunk and one that creates a context both end.

    A process that does not cannot be killed, and keeps the driver's locks. Source: amdxdna_gem.c,
    amdxdna_gem_obj_open() takes the chunk's lock, then mm_lock; amdxdna_ctx.c, amdxdna_hwctx_expand_heap() the other
    way round.
    """
    child = os.fork()
    if child == 0:
        try:
            race(device)
        finally:
            os._exit(0)
    try:
        eventually(lambda: os.waitpid(child, os.WNOHANG)[0] == child, "both threads end", LIMIT_SECONDS)
    except AssertionError:
        give_up()
