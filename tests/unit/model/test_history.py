# SPDX-License-Identifier: GPL-2.0-only
"""One test along the prefixes of a series: what each may claim, and who still has to answer."""

from __future__ import annotations

import pytest

from harness.model.finding import Finding, Kind
from harness.model.history import LaneView, Seen, State, bad_answers, comes_and_goes, histories, spans, still_open
from harness.model.judge import ATTEMPTS, LaneResults
from harness.model.result import Outcome, Result

T, OTHER, ELSEWHERE = "test_x.py::test_a", "test_x.py::test_b", "test_z.py::test_c"
STAGES = tuple(Result(f"stage/{name}", Outcome.PASS) for name in ("apply", "build", "boot", "probe"))
NAMES = {"p": Outcome.PASS, "f": Outcome.FAIL, "l": Outcome.LOST, "e": Outcome.ERROR, "s": Outcome.SKIP}
P = "p" * ATTEMPTS


def answers(word: str) -> list[Result]:
    """``pffe`` is pass, fail, fail, error in attempts 1 to 4; l is lost, s is skipped."""
    return [Result(T, NAMES[letter], attempt=number) for number, letter in enumerate(word, 1)]


def lane(word: str) -> LaneResults:
    return LaneResults((*STAGES, Result(OTHER, Outcome.PASS), *answers(word)), frozenset({T, OTHER}))


def history(base: str, *words: str) -> list[Seen]:
    """That of T, from base to head."""
    return dict(histories(lane(base), {number: lane(word) for number, word in enumerate(words, 1)}))[T]


@pytest.mark.parametrize(
    ("base", "word", "state"),
    [
        (P, P, State.CLEAN),
        (P, "pppp", State.FINE),
        (P, "ff", State.BAD),
        (P, "pfppf", State.BAD),
        (P, "pfppp", State.DOUBT),
        ("pppp", "ff", State.DOUBT),
        ("pfppp", "ff", State.FINE),
        ("pfppp", "ll", State.BAD),
        ("plppp", "ff", State.FINE),
        (P, "e", State.UNKNOWN),
        (P, "pe", State.FINE),
        (P, "ss", State.BAD),
        ("fffff", "s", State.MOOT),
        ("s", "f", State.UNKNOWN),
        ("s", "s", State.MOOT),
    ],
)
def test_what_a_lane_is(base: str, word: str, state: State) -> None:
    assert history(base, word)[1].state is state


def test_other_findings_are_worse_than_the_same_outcome() -> None:
    def fails(name: str) -> Result:
        return Result(T, Outcome.FAIL, findings=(Finding(Kind.WARNING, name, name, name),))

    old, same, new = fails("old"), fails("old"), fails("new")
    assert bad_answers([old], [same, new]) == [new]


@pytest.mark.parametrize(
    ("planned", "broken", "unanswered", "state"),
    [
        ({OTHER}, False, False, State.BAD),
        ({OTHER}, True, False, State.UNKNOWN),
        ({OTHER, "test_y.py::test_d"}, False, True, State.UNKNOWN),
        ({OTHER, T}, False, False, State.UNKNOWN),
        ({ELSEWHERE}, False, False, State.UNKNOWN),
        (set(), False, False, State.UNKNOWN),
    ],
    ids=[
        "gone from its file",
        "cut short",
        "not complete",
        "announced, never asked",
        "its file never began",
        "nothing",
    ],
)
def test_a_missing_test_counts_only_where_its_file_came_without_it(
    planned: set[str], broken: bool, unanswered: bool, state: State
) -> None:
    done = planned - {T, "test_y.py::test_d"} if unanswered else planned - {T}
    results = (*STAGES, *(Result(test, Outcome.PASS) for test in sorted(done)))
    view = LaneView(LaneResults(results, frozenset(planned), broken))
    assert view.see(T, answers(P)).state is state
    assert view.see(T, answers("f")).state is State.UNKNOWN  # nothing passed that could be gone


@pytest.mark.parametrize(
    ("stage", "outcome", "state", "why"),
    [
        ("stage/build", Outcome.FAIL, State.MOOT, "does not build"),
        ("stage/boot", Outcome.LOST, State.MOOT, "does not boot"),
        ("stage/boot", Outcome.ERROR, State.UNKNOWN, "could not be asked: stage/boot ERROR"),
    ],
)
def test_behind_a_failed_stage_nothing_is_known(stage: str, outcome: Outcome, state: State, why: str) -> None:
    view = LaneView(LaneResults((STAGES[0], Result(stage, outcome))))
    assert view.see(T, answers(P)) == Seen(state, why)
    assert view.see("stage/probe", [STAGES[3]]).state is state


def test_a_base_that_failed_a_stage_has_no_histories() -> None:
    base = LaneResults((*STAGES[:2], Result("stage/boot", Outcome.ERROR)))
    assert dict(histories(base, {1: lane("ff")})) == {}


def asked(base: str, *words: str) -> set[int]:
    return still_open(history(base, *words))


def test_bad_ones_base_and_both_neighbours_are_asked() -> None:
    assert asked("p", "p", "p", "f", "p", "p") == {0, 2, 3, 4}


def test_a_fine_prefix_beyond_unanswered_ones_is_asked_too() -> None:
    assert asked("p", "p", "e", "e", "f", "s", "p") == {0, 1, 4, 5, 6}
    assert asked(P, "p", "e", "ff", "e", "p") == {1, 5}
    assert asked(P, "p", "pfppp", "ff") == {1}


def test_a_clean_neighbour_ends_the_walk() -> None:
    assert asked(P, "p", P, "ff", P, "p") == set()


def test_what_is_far_from_anything_bad_is_left_alone() -> None:
    assert asked("p", "p", "p", "p") == set()
    assert asked(P, "p", "p", P, "ff") == set()


def test_what_is_bad_now_and_then_is_asked_everywhere() -> None:
    assert asked("pp", "p", "p", "p", "pp", "fp", "pp", "p") == {0, 1, 2, 3, 4, 5, 6, 7}


def test_nobody_is_asked_where_base_can_confirm_nothing() -> None:
    assert asked("pe", "p", "f") == set()
    assert asked("pf", "p", "f") == set()


def test_no_lane_is_asked_for_ever() -> None:
    assert asked(P, P, "pfppp", P) == set()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((P, "pfppp", P, "ff"), True),
        ((P, "pff", P, "fpf"), True),
        ((P, "fpppf", P), True),
        ((P, "ff", P, "ff"), False),
        ((P, "pff", "ff", "ff", P), False),
        ((P, "ff", "fpf"), False),
    ],
)
def test_what_comes_and_goes_is_nobodys(words: tuple[str, ...], expected: bool) -> None:
    seen = history(P, *words)
    assert comes_and_goes(seen) is expected
    if expected:
        assert spans(seen) == []


def test_one_clean_prefix_is_not_enough_where_it_shows_rarely() -> None:
    (often,) = spans(history(P, P, P, "ff", "ff", "fpf"))
    assert (often.before, often.first) == (2, 3)
    (rarely,) = spans(history(P, P, P, "pff", "fpf", "ppff"))
    assert (rarely.before, rarely.first) == (1, 3)


def test_base_alone_does_not_prove_a_rare_one_that_the_head_does_not_have() -> None:
    assert spans(history(P, "fpf", "pfppp")) == []
    assert len(spans(history(P, "fpf", "ppfpf"))) == 1
