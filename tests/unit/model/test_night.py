# SPDX-License-Identifier: GPL-2.0-only
"""What is asked first, what is news, and what may go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.model.judge import Change, Comparison, Verdict
from harness.model.night import (
    GUESS,
    Answer,
    Came,
    Entry,
    Kept,
    News,
    NightRun,
    Past,
    Told,
    answer,
    expired,
    fitting,
    news,
    ordered,
    partial,
    seconds_of,
)
from harness.model.result import Outcome, Result
from harness.model.trend import Point, Trend, trends

P, F, L, S, E = Outcome.PASS, Outcome.FAIL, Outcome.LOST, Outcome.SKIP, Outcome.ERROR
DAY = 86400.0
NOW = 100 * DAY


def entry(name: str, inputs: str = "a", **past: object) -> Entry:
    return Entry(name, name, inputs, Past(**{"asked": NOW - DAY, "seconds": 60.0, "inputs": "a", **past}))  # type: ignore[arg-type]


def test_never_run_then_changed_then_failing_then_the_oldest() -> None:
    entries = [
        entry("oldest", asked=NOW - 9 * DAY),
        entry("recent"),
        entry("failing", failing=True),
        entry("changed", inputs="b", failing=True),
        Entry("new", "new", "a"),
    ]
    assert [e.key for e in ordered(entries, NOW)] == ["new", "changed", "failing", "oldest", "recent"]
    assert [e.why for e in ordered(entries, NOW)][:3] == ["never run before", "changed since", "failing last time"]


def test_what_is_cheap_comes_first_among_the_same() -> None:
    cheap, dear = entry("cheap", failing=True), entry("dear", failing=True, seconds=6000.0)
    assert [e.key for e in ordered([dear, cheap], NOW)] == ["cheap", "dear"]
    waits = entry("waits", asked=NOW - 50 * DAY, seconds=6000.0)  # half as long for each second as the cheap one
    assert [e.key for e in ordered([waits, entry("often")], NOW)] == ["often", "waits"]
    assert [e.key for e in ordered([waits, entry("just now", asked=NOW - 60)], NOW)] == ["waits", "just now"]


def test_what_cannot_be_found_out_is_no_change() -> None:
    assert entry("x", inputs="").rank == 3


def test_a_cost_that_nobody_knows_is_the_dearest_of_the_others() -> None:
    new = Entry("new", "new", "a")
    assert seconds_of(new, {}) == GUESS
    assert seconds_of(new, {"a": 5.0, "b": 900.0}) == 900.0


@pytest.mark.parametrize(
    ("costs", "left", "first", "place"),
    [([90, 20], 60, False, 1), ([90, 20], 10, False, None), ([90], 10, True, 0), ([], 10, True, None)],
)
def test_the_next_run_ends_in_time(costs: list[float], left: float, first: bool, place: int | None) -> None:
    assert fitting(costs, left, first) == place


def compared(change: Change, *outcomes: Outcome) -> Comparison:
    return Comparison("t", change, (), tuple(Result("t", outcome) for outcome in outcomes))


@pytest.mark.parametrize(
    ("comparison", "said"),
    [
        (compared(Change.SAME, P), Answer.PASS),
        (compared(Change.SAME, S), Answer.SKIP),
        (compared(Change.SAME, F), Answer.FAIL),  # on base, too
        (compared(Change.REGRESSED, F), Answer.FAIL),
        (compared(Change.REGRESSED, F, L), Answer.LOST),
        (compared(Change.REGRESSED), Answer.FAIL),  # missing on head
        (compared(Change.SUSPECT, F, P), Answer.FLAKY),
        (compared(Change.SUSPECT, F, S), Answer.FLAKY),
        (compared(Change.SUSPECT, F, E), Answer.FAIL),  # the lab was at fault: nobody has said otherwise
        (compared(Change.SUSPECT, L, E), Answer.LOST),
        (compared(Change.SUSPECT, S), Answer.FAIL),  # passed on base
        (compared(Change.FLAKY, F), Answer.FLAKY),
        (compared(Change.UNANSWERED, E), Answer.ERROR),
    ],
)
def test_what_a_comparison_comes_to(comparison: Comparison, said: Answer) -> None:
    assert answer(comparison, ()) is said


def test_a_known_failure_is_known_but_not_when_it_is_worse() -> None:
    assert answer(compared(Change.SAME, P), {"t"}) is Answer.KNOWN
    assert answer(compared(Change.REGRESSED, L), {"t"}) is Answer.LOST


def test_news() -> None:
    a = Answer
    before = {"ok": a.PASS, "bad": a.FAIL, "mended": a.LOST, "odd": a.FLAKY, "gone": a.FAIL, "unasked": a.FAIL}
    now = {"ok": a.FAIL, "bad": a.LOST, "mended": a.PASS, "odd": a.FLAKY, "new": a.FLAKY, "unasked": a.ERROR}
    assert news(before, now) == News(worse=("ok",), fixed=("mended",), flaky=("new",), still=("bad",))
    assert news(None, now).worse == ("bad", "ok")
    assert news(now, now) == News(still=("bad", "ok"))


def test_the_newest_night_and_the_last_failing_one_stay() -> None:
    nights = [Kept(1, 10, True), Kept(2, 10, False), Kept(3, 10, False), Kept(4, 10, False)]
    assert expired(nights, most=2, size=1000) == [2]
    assert expired(nights, most=9, size=25) == [2]
    assert expired(nights, most=1, size=1) == [3, 2]
    assert expired(nights, most=9, size=1000) == []


def run(state: str, verdict: str = "GOOD") -> NightRun:
    tries = 0 if state == "left" else 1
    return NightRun(1, 1, "e", "t", "", "", "", "f", state, tries, 0.0, 1.0, verdict, "k", "")


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ([Told(run("done"))], 0),
        ([Told(run("done", Verdict.BAD), News(still=("t",)))], 0),  # as bad as last night
        ([Told(run("done"), News(worse=("t",))), Told(run("trouble"))], 1),
        ([Told(run("done")), Told(run("trouble", ""))], 3),
        ([Told(run("done", Verdict.UNKNOWN))], 3),
        ([Told(run("done", Verdict.UNKNOWN), wavering=True)], 0),
        ([Told(run("done", Verdict.BAD), News(still=("t",)), partial=True)], 3),
        ([Told(run("done")), Told(run("left", ""))], 0),
        ([Told(run("done")), Told(replace(run("left", ""), tries=1))], 3),  # it failed, and was not tried once more
        ([Told(run("left", ""))], 3),
    ],
)
def test_the_exit_status(told: list[Told], status: int) -> None:
    assert Came(1, tuple(told)).exit_status == status


def test_what_could_not_be_asked_is_missing_but_not_behind_a_stage_that_failed() -> None:
    assert partial({"t": Answer.FAIL, "stage/restart": Answer.ERROR})
    assert not partial({"t": Answer.ERROR, "stage/boot": Answer.LOST})
    assert not partial({"t": Answer.FAIL, "u": Answer.FLAKY})


def points(letters: str, inputs: str = "") -> Trend:
    kinds = {".": Answer.PASS, "F": Answer.FAIL, "~": Answer.FLAKY, "s": Answer.SKIP, "?": Answer.ERROR}
    first = Point(0, 0.0, "job", "a", "k", "f", "test_x.py::test_a", Answer.PASS, 1.0)
    row = [
        replace(first, night=n, answer=kinds[letter], inputs=(inputs or "a" * len(letters))[n])
        for n, letter in enumerate(letters)
    ]
    return trends(row)[0]


@pytest.mark.parametrize(
    ("letters", "inputs", "times", "of"),
    [
        ("......", "", 0, 6),
        ("..F...", "", 1, 6),
        ("FFF.FF", "", 1, 6),
        ("...FFF", "aaabbb", 0, 6),  # the kernel has changed, and not the dice
        ("..~...", "", 1, 6),
        ("s?....", "", 0, 4),
    ],
)
def test_flakes_do_not_agree_with_the_rest_of_the_same(letters: str, inputs: str, times: int, of: int) -> None:
    trend = points(letters, inputs)
    assert trend.letters == letters
    assert (trend.flakes.times, trend.flakes.trials) == (times, of)


def test_what_needs_a_look_comes_first() -> None:
    first = points(".").points[0]
    rows = [
        replace(first, test="quiet"),
        replace(first, test="bad now", answer=Answer.FAIL),
        replace(first, test="flaky", answer=Answer.FLAKY),
    ]
    assert [trend.test for trend in trends(rows)] == ["bad now", "flaky", "quiet"]
    assert [trend.quiet for trend in trends(rows)] == [False, False, True]
