# SPDX-License-Identifier: GPL-2.0-only
"""What each test held: first answers, guest by guest; counters that a kernel lacks say nothing."""

from __future__ import annotations

from typing import Any

from harness.model.memory import Held, held


def end(test: str, boot: int, attempt: int = 1, **more: Any) -> dict[str, Any]:
    counters = {"before": {"meminfo.Shmem": 10, "memory.used": 100}, "after": {"meminfo.Shmem": 12, "memory.used": 90}}
    return {
        "event": "test-end",
        "id": test,
        "boot": boot,
        "attempt": attempt,
        "duration": 0.5,
        "counters": counters,
        **more,
    }


def test_guests_stand_one_behind_the_other_and_repetitions_are_left_out() -> None:
    events = [
        end("b", 2, outside={"npu.contexts": 0, "npu.heap": 64, "npu.chunks": 1}),
        end("a", 1),
        end("a", 3, attempt=2),
        {"event": "test-start", "id": "c", "boot": 1},
    ]
    assert held(events) == (Held("a", 0.5, None, None, 2, -10), Held("b", 0.5, 64, 1, 2, -10))


def test_a_counter_that_is_not_there_is_unknown() -> None:
    (found,) = held([end("a", 1, counters={"before": {"meminfo.Shmem": 10}, "after": {"meminfo.Shmem": 10}})])
    assert (found.shmem, found.used) == (0, None)
    assert held([end("a", 1, counters={})]) == ()
