# SPDX-License-Identifier: GPL-2.0-only
"""A random walk that the host sends (xdna-harness hunt): whatever it does, a few things must hold, and nothing is left.

It has a suite of its own. Which steps there are: harness/guest/hunt/steps.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.drm.client import Client
from harness.drm.device import Device
from harness.drm.heap import CHUNK, MAX_HEAP
from harness.guest import counters
from harness.guest.faults import Faults
from harness.guest.hunt import oracle
from harness.guest.hunt.walk import Walk, measures, read
from harness.guest.hunt.world import World
from harness.guest.npu import Npu
from harness.guest.variant import Variant

SCRIPT = Path(__file__).resolve().parents[2] / "script.jsonl"
SPARED = "xdna_mailbox_alloc_channel"
"""Without memory for its work queue 7.3 takes the guest down: asked by a test of its own (test_enumeration)."""
AWAKE_MS = 600_000
SETTLE_SECONDS = 12.0
"""The address space of a process that was killed while a command of its hung was seen to go after 2 to 10 s."""


@pytest.mark.fw
@pytest.mark.hunt
def test_walk(device: Device, npu: Npu, variant: Variant, measure: Callable[[str, float, str], None]) -> None:
    """The script, then all is closed. The device sleeps only where the script says so.

    Source: harness/model/walk.py makes scripts.
    """
    if not SCRIPT.exists():
        pytest.skip("walks only what the host sends")
    script = read(SCRIPT.read_text())
    before = counters.snapshot()
    world = World(lambda: Client.open(device.node), device, npu, CHUNK if variant.npu == "npu1" else MAX_HEAP)
    faults: list[Faults] = []

    def make_faults() -> Faults:
        faults.append(Faults(spare=SPARED))
        return faults[0]

    def mark(text: str) -> None:
        Path("/dev/kmsg").write_text(f"<6>{text}\n")

    walk = Walk(world, make_faults, mark)
    delay = device.autosuspend_ms()
    device.set_autosuspend_ms(AWAKE_MS)
    try:
        walk.go(script)
        walk.empty()
    finally:
        for each in measures(walk.tally):
            measure(*each)
        npu.reset()
        world.close()
        device.set_autosuspend_ms(delay)
        for each_fault in faults:
            each_fault.close()
    oracle.afterwards(world, device)
    if "slab.mm_struct" in counters.grown(before, counters.settled(before)):
        counters.settled(before, seconds=SETTLE_SECONDS)
