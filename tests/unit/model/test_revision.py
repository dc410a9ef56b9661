# SPDX-License-Identifier: GPL-2.0-only
"""What changed since the previous revision, as far as the answers agree."""

from __future__ import annotations

from harness.model.finding import Finding, Kind
from harness.model.judge import LaneResults
from harness.model.result import Outcome, Result
from harness.model.revision import Turn, carried, changed, not_compared
from harness.model.standing import Place, place

P, F, L, E, S = Outcome.PASS, Outcome.FAIL, Outcome.LOST, Outcome.ERROR, Outcome.SKIP
LEAK = Finding(Kind.LEAK, "leak of bytes", "LEAK:bytes", "leak of bytes: 1 before the test, 2 after it")


def lane(*answers: tuple[str, Outcome], findings: tuple[Finding, ...] = ()) -> LaneResults:
    return LaneResults(tuple(Result(test, o, findings=findings if o is F else ()) for test, o in answers))


def test_a_leak_that_is_gone_is_named_with_its_test() -> None:
    old, new = lane(("t", F), ("t", F), ("same", P), findings=(LEAK,)), lane(("t", P), ("same", P))
    (found,) = changed(old, new)
    assert (found.test, found.turn) == ("t", Turn.BETTER)
    assert found.findings == ("LEAK: leak of bytes: 1 before the test, 2 after it",)


def test_what_is_worse_comes_first() -> None:
    old = lane(*[("a", F), ("b", P), ("c", F)] * 2)
    found = changed(old, lane(*[("a", P), ("b", L), ("c", L)] * 2))
    assert [(c.test, c.turn) for c in found] == [("b", Turn.WORSE), ("c", Turn.WORSE), ("a", Turn.BETTER)]


def test_answers_that_do_not_agree_are_uncertain() -> None:
    (found,) = changed(lane(("t", F), ("t", P)), lane(("t", P)))
    assert found.turn is Turn.UNCERTAIN


def test_what_was_bad_once_may_have_been_a_busy_machine() -> None:
    (found,) = changed(lane(("t", P)), lane(("t", F)))
    assert found.turn is Turn.UNCERTAIN


def test_what_one_side_could_not_answer_tells_nothing_and_is_counted() -> None:
    old, new = lane(("a", E), ("b", S), ("c", F), ("d", P), ("e", S)), lane(("a", P), ("b", F), ("d", P), ("e", S))
    assert changed(old, new) == ()
    assert not_compared(old, new) == ("a", "b", "c")


def test_a_lane_that_the_lab_broke_is_not_as_before() -> None:
    broken = LaneResults((Result("stage/restart", E),), planned=frozenset("ab"), broken=True)
    whole = lane(("stage/boot", P), ("a", P), ("b", P))
    for old, new in ((broken, whole), (whole, broken)):
        assert changed(old, new) == ()
        assert not_compared(old, new) == ("a", "b", "stage/restart")


def test_what_passed_and_is_skipped_or_missing_is_worse() -> None:
    (once,) = changed(lane(("t", P)), lane(("t", S)))
    (twice,) = changed(lane(("t", P)), lane(("t", S), ("t", S)))
    (gone,) = changed(lane(("t", P), ("u", P)), lane(("u", P)))
    (come,) = changed(lane(("u", P)), lane(("t", P), ("u", P)))
    assert [c.turn for c in (once, twice, gone, come)] == [Turn.UNCERTAIN, Turn.WORSE, Turn.UNCERTAIN, Turn.UNCERTAIN]
    assert gone.shows == come.shows == Result("t", P)


def test_what_is_missing_behind_a_stage_that_failed_is_not_compared() -> None:
    old, new = lane(("stage/boot", P), ("t", P)), lane(("stage/boot", L))
    assert [change.test for change in changed(old, new)] == ["stage/boot"]
    assert not_compared(old, new) == ("t",)


def test_a_spoiled_repetition_takes_no_answer_away() -> None:
    (found,) = changed(lane(("t", P)), lane(("t", E), ("t", F), ("t", F)))
    assert (found.turn, found.new) == (Turn.WORSE, (Result("t", F),) * 2)


def test_trailers_by_kind_and_address_whatever_the_name() -> None:
    found = carried(
        ["Reviewed-by: Rev Iewer <rev@example.org>", "Signed-off-by: A <a@example.org>"],
        ["Tested-by: T <t@example.org>"],
        ["Reviewed-by: R. Iewer <Rev@example.org>", "Acked-by: M <m@example.org>"],
    )
    assert found.kept == ("Reviewed-by: Rev Iewer <rev@example.org>",)
    assert found.missing == ("Tested-by: T <t@example.org>",)
    assert found.new == ("Acked-by: M <m@example.org>",)


def test_where_a_patch_is_is_said_only_where_it_can_be_told() -> None:
    assert place(True, False, "", "")[0] is Place.IN
    assert place(False, True, "", "")[0] is Place.OUT
    assert place(True, True, "", "")[0] is Place.UNKNOWN
    assert place(False, False, "", "")[0] is Place.UNKNOWN
    assert place(False, False, "", "merged for Linux 7.2") == (Place.IN, "merged for Linux 7.2")
    assert place(False, True, "abc", "")[0] is Place.IN  # reverted since, perhaps: then the commit is a lead
