# SPDX-License-Identifier: GPL-2.0-only
"""The largest heap that the NPU's log tells of: what was announced and not refused, context by context."""

from __future__ import annotations

from typing import Any

from harness.formats.npu_log import largest_heap


def said(name: str, context: int, size: int = 0, status: int = 0) -> dict[str, Any]:
    return {"name": name, "status": status, "request": {"context_id": context, "buf_size": size}}


def test_each_context_has_its_own_heap() -> None:
    log = [said("MAP_HOST_BUFFER", 1, 64), said("ADD_HOST_BUFFER", 1, 64), said("MAP_HOST_BUFFER", 2, 100)]
    assert largest_heap(log) == (128, 2)


def test_what_is_refused_is_no_heap() -> None:
    log = [said("MAP_HOST_BUFFER", 1, 64), said("ADD_HOST_BUFFER", 1, 64, status=3), said("SYNC_BO", 1)]
    assert largest_heap(log) == (64, 1)


def test_a_context_that_ends_takes_its_heap_along_and_so_does_firmware() -> None:
    log = [said("MAP_HOST_BUFFER", 1, 64), said("DESTROY_CONTEXT", 1), said("MAP_HOST_BUFFER", 1, 64)]
    assert largest_heap(log) == (64, 1)
    restarted: list[dict[str, Any]] = [
        said("MAP_HOST_BUFFER", 1, 64),
        {"event": "boot"},
        said("ADD_HOST_BUFFER", 1, 32),
    ]
    assert largest_heap(restarted) == (64, 1)


def test_nothing_was_announced() -> None:
    assert largest_heap([{"event": "reset", "how": "client"}]) == (0, 0)
