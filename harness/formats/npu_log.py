# SPDX-License-Identifier: GPL-2.0-only
"""What the emulated NPU's log (harness/npu/events.py) says of the heaps that contexts have. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_HEAP = ("MAP_HOST_BUFFER", "ADD_HOST_BUFFER")


def largest_heap(entries: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """Bytes and chunks of the largest heap that one context had in these entries, as far as they tell how it came to
    be: what was announced, and not refused. (0, 0) when none had any."""
    heaps: dict[int, list[int]] = {}
    most = (0, 0)
    for entry in entries:
        name, done = entry.get("name"), entry.get("status") == 0
        if entry.get("event") == "boot":
            heaps.clear()  # firmware starts anew and knows nothing
        elif done and name in _HEAP:
            request = entry["request"]
            held = heaps.setdefault(int(request["context_id"]), [])
            held.append(int(request["buf_size"]))
            most = max(most, (sum(held), len(held)))
        elif done and name == "DESTROY_CONTEXT":
            heaps.pop(int(entry["request"]["context_id"]), None)
    return most
