# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import json

from benchmarks.table import Row, middle, render


def test_a_target_in_seconds_and_one_as_a_share() -> None:
    assert Row("x", 0.5, most=0.6).met
    assert not Row("x", 0.7, most=0.6).met
    assert Row("x", 1, "y", 10, most_of=0.1).met
    assert not Row("x", 1.1, "y", 10, most_of=0.1).met
    assert not Row("x", 1.1, "y", 10, most=2, most_of=0.1).met, "one of two is not enough"
    assert Row("x", 1).met is None


def test_the_table_says_what_was_missed() -> None:
    text = render([Row("fast", 1.0, "slow", 10.0, 2.0, 0.2), Row("late", 3.0, most=2.0), Row("bare", 1.0)])
    assert "| fast | 1.00 | slow | 10.00 | 0.10 | 2 s and ratio 0.2: met |" in text
    assert "| late | 3.00 |  |  |  | 2 s: MISSED |" in text
    assert "| bare | 1.00 |  |  |  |  |" in text


def test_json() -> None:
    found = json.loads(json.dumps(Row("x", 1.0, "y", 4.0, most_of=0.2).as_json()))
    assert found["ratio"] == 0.25
    assert found["met"] is False


def test_one_slow_moment_does_not_decide() -> None:
    assert middle([1.0, 9.0, 1.1]) == 1.1
