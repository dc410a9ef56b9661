# SPDX-License-Identifier: GPL-2.0-only
"""A load that lasts, with the machine's power and temperature beside it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from harness.drm import structs
from harness.drm.client import Client
from harness.drm.heap import CHUNK, Heap
from harness.guest.expect import works
from harness.guest.sensors import Watch

pytestmark = [pytest.mark.soak, pytest.mark.long]

BUFFER = 4 << 20


def round_of(heap: Heap, context: bool) -> None:
    """What a user does all day: a heap that grows, buffers in it that are filled and handed over, a context."""
    client = heap.client
    chunk = heap.add_chunk()
    hwctx = client.create_hwctx() if context else None
    for _ in range(CHUNK // BUFFER // 2):
        handle = heap.create_dev(BUFFER)
        heap.view(handle, BUFFER).write(0, b"\x5a" * 4096)
        client.sync_bo(handle, 0, 4096, structs.SYNC_TO_DEVICE)
        client.close_bo(handle)
    if hwctx is not None:
        client.destroy_hwctx(hwctx)
    assert chunk.mapping is not None


def test_a_load_that_lasts(
    open_client: Callable[[], Client], watch: Watch, sustained: float, measure: Callable[[str, float, str], None]
) -> None:
    """Every round must do what the first one did."""
    end, rounds = time.monotonic() + sustained, 0
    while time.monotonic() < end:
        with works(f"round {rounds}"):
            heap = Heap(open_client())
            round_of(heap, context=True)
            heap.client.close()
            heap.release()
        rounds += 1
    measure("rounds", rounds, "rounds")
    for name, series in watch.series.items():
        if series.values:
            measure(f"{name}, on average", round(sum(series.values) / len(series.values), 2), series.unit)
            measure(f"{name}, at most", round(max(series.values), 2), series.unit)
