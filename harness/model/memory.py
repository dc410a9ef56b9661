# SPDX-License-Identifier: GPL-2.0-only
"""What each test of a run held of the memory that a device heap is made of. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Held:
    """One test, first attempt. Bytes; ``seconds`` it took.

    ``heap``: the largest heap that firmware knew of one context meanwhile, in ``chunks``; None where there is no
    emulated NPU to ask, or nobody asked. ``shmem`` and ``used``: shared memory, and all other, that the system has
    after the test, over what it had when the test began; ``used`` is None where the kernel's detectors blur it.
    """

    test: str
    seconds: float
    heap: int | None
    chunks: int | None
    shmem: int
    used: int | None


def held(events: Iterable[Mapping[str, Any]]) -> tuple[Held, ...]:
    """Of a lane's events, guest by guest, in the order in which the tests ended. Tests that were lost left no count."""
    ends = [e for e in events if e.get("event") == "test-end" and e.get("attempt") == 1]
    return tuple(_held(e) for e in sorted(ends, key=lambda e: int(e.get("boot", 0))) if _after(e))


def _after(event: Mapping[str, Any]) -> Mapping[str, int]:
    after: Mapping[str, int] = (event.get("counters") or {}).get("after") or {}
    return after if "meminfo.Shmem" in after else {}


def _held(event: Mapping[str, Any]) -> Held:
    after = _after(event)
    before = (event.get("counters") or {}).get("before") or {}
    outside = event.get("outside") or {}
    used = after["memory.used"] - before["memory.used"] if {"memory.used"} <= before.keys() & after.keys() else None
    return Held(
        str(event["id"]),
        float(event.get("duration", 0)),
        outside.get("npu.heap"),
        outside.get("npu.chunks"),
        after["meminfo.Shmem"] - before.get("meminfo.Shmem", after["meminfo.Shmem"]),
        used,
    )
