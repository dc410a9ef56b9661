# SPDX-License-Identifier: GPL-2.0-only
"""Numbers side by side: all of them, first answers only, never judged."""

from __future__ import annotations

import pytest

from harness.model.judge import LaneResults, Verdict, judge
from harness.model.measures import Number, amount, numbers
from harness.model.result import Measure, Outcome, Result


def lane(*answers: tuple[str, dict[str, float]]) -> LaneResults:
    return LaneResults(
        tuple(
            Result(test, Outcome.PASS, attempt=number, measures={n: Measure(v, "") for n, v in found.items()})
            for number, (test, found) in enumerate(answers, 1)
        )
    )


def told(rows: tuple[Number, ...]) -> list[tuple[str, str, float | None, float | None, bool]]:
    def value(measure: Measure | None) -> float | None:
        return measure.value if measure else None

    return [(r.test, r.name, value(r.base), value(r.head), r.differs) for r in rows]


def test_both_lanes_stand_side_by_side() -> None:
    base = lane(("t1", {"chunks": 1, "calls": 7}), ("gone", {"x": 1}))
    head = lane(("t1", {"chunks": 3, "new": 5, "calls": 7}))
    assert told(numbers(base, head)) == [
        ("t1", "chunks", 1, 3, True),
        ("t1", "new", None, 5, True),
        ("t1", "calls", 7, 7, False),
        ("gone", "x", 1, None, True),
    ]


def test_the_first_answer_with_numbers_counts() -> None:
    head = lane(("t1", {}), ("t1", {"chunks": 3}), ("t1", {"chunks": 4}))
    assert told(numbers(None, head)) == [("t1", "chunks", None, 3, True)]


def test_a_number_that_got_worse_is_no_verdict() -> None:
    assert judge(lane(("t1", {"bytes": 1})), lane(("t1", {"bytes": 10**12}))).verdict is Verdict.GOOD


@pytest.mark.parametrize(
    ("measure", "text"),
    [
        (None, "-"),
        (Measure(0, "bytes"), "0 bytes"),
        (Measure(192 << 20, "bytes"), "192 MiB"),
        (Measure(36 << 10, "bytes"), "36 KiB"),
        (Measure((64 << 20) + 1, "bytes"), "67108865 bytes"),
        (Measure(3.0, ""), "3"),
        (Measure(1.5, "MiB"), "1.5 MiB"),
    ],
)
def test_amounts_read_well(measure: Measure | None, text: str) -> None:
    assert amount(measure) == text
