# SPDX-License-Identifier: GPL-2.0-only
"""Each rule of the judge is a test, and so are the drafts that look right and are wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.model.alone import failures, judge_alone, wants_more_alone
from harness.model.finding import Finding, Kind
from harness.model.judge import (
    ATTEMPTS,
    Change,
    Comparison,
    Judgement,
    LaneResults,
    Verdict,
    improvements,
    judge,
    overall,
    suspects,
    wants_more,
    worse,
)
from harness.model.result import KERNEL_LOG, Outcome, Result

P, F, L, S, E = Outcome.PASS, Outcome.FAIL, Outcome.LOST, Outcome.SKIP, Outcome.ERROR
STAGES = [Result("stage/build", P), Result("stage/boot", P)]
T = "test_x.py::test_a"


def finding(fingerprint: str) -> Finding:
    return Finding(kind=Kind.WARNING, title=fingerprint, fingerprint=fingerprint, text=fingerprint)


def lane(*outcomes: Outcome, other: Outcome | None = P, stages: list[Result] | None = None) -> LaneResults:
    """A lane that answered ``outcomes`` for test T, attempt by attempt, and ``other`` for a second test."""
    results = list(STAGES if stages is None else stages)
    results += [Result(T, outcome, attempt=n) for n, outcome in enumerate(outcomes, 1)]
    if other is not None:
        results.append(Result("test_x.py::test_b", other))
    return LaneResults(tuple(results), frozenset({T, "test_x.py::test_b"}))


def change(judgement: Judgement, test: str = T) -> Change:
    return next(c.change for c in judgement.comparisons if c.id == test)


def compared(base: LaneResults, head: LaneResults) -> Comparison:
    """Test T."""
    return next(c for c in judge(base, head).comparisons if c.id == T)


def test_rule_1_base_failed_a_stage_is_unknown() -> None:
    base = LaneResults((Result("stage/build", P), Result("stage/boot", L)))
    assert judge(base, lane(P)).verdict is Verdict.UNKNOWN


def test_rule_1_holds_even_if_head_fails_too() -> None:
    base = LaneResults((Result("stage/build", F),))
    head = LaneResults((Result("stage/build", F),))
    assert judge(base, head).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("outcome", [F, L])
def test_rule_2_stage_passed_on_base_and_failed_on_head_is_bad(outcome: Outcome) -> None:
    head = LaneResults((Result("stage/build", P), Result("stage/boot", outcome)))
    judged = judge(lane(P), head)
    assert judged.verdict is Verdict.BAD
    assert judged.ids(Change.REGRESSED) == ["stage/boot"]  # what never ran behind it is no regression of its own


def test_rule_2_stage_error_on_head_is_unknown() -> None:
    head = LaneResults((Result("stage/build", E),), broken=True)
    assert judge(lane(P), head).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(("old", "new"), [(P, F), (P, L), (F, L), (P, S)])
def test_rule_3_worse(old: Outcome, new: Outcome) -> None:
    judged = judge(lane(*[old] * ATTEMPTS), lane(new, new))
    assert (judged.verdict, change(judged)) == (Verdict.BAD, Change.REGRESSED)


@pytest.mark.parametrize(("old", "new"), [(F, P), (L, F), (L, P), (S, P), (F, S), (P, P), (F, F)])
def test_rule_3_not_worse(old: Outcome, new: Outcome) -> None:
    assert not worse(Result(T, old), Result(T, new))


@pytest.mark.parametrize(
    ("base", "head", "otherwise"),
    [
        ("expected 5, got 3\n\nTraceback of base", "expected 5, got 4\n\nTraceback", False),
        ("at 0xffff888100000000", "at 0xffff888200000000", False),
        ("expected success, got EAGAIN", "expected success, got EFAULT", True),
    ],
)
def test_what_fails_on_both_by_other_words_is_the_same_but_named(base: str, head: str, otherwise: bool) -> None:
    one, other = (LaneResults((*STAGES, Result(T, F, evidence))) for evidence in (base, head))
    comparison = compared(one, other)
    assert comparison.change is Change.SAME
    assert comparison.otherwise is otherwise


def test_rule_3_new_finding_on_a_test_that_fails_on_both() -> None:
    old = Result(T, F, findings=(finding("a"),))
    new = Result(T, F, findings=(finding("a"), finding("b")))
    assert worse(old, new)
    assert not worse(new, old)


def test_rule_3_bad_even_if_other_cells_are_error() -> None:
    judged = judge(lane(*[P] * ATTEMPTS), lane(F, F, other=E))
    assert judged.verdict is Verdict.BAD


def test_rule_3_missing_on_head_is_worse() -> None:
    judged = judge(lane(P), LaneResults((*STAGES, Result("test_x.py::test_b", P))))
    assert (judged.verdict, change(judged)) == (Verdict.BAD, Change.REGRESSED)


def test_rule_3_missing_because_of_us_is_never_worse() -> None:
    judged = judge(lane(P), LaneResults((*STAGES, Result("test_x.py::test_b", P)), broken=True))
    assert (judged.verdict, change(judged)) == (Verdict.UNKNOWN, Change.UNANSWERED)


def test_rule_4_error_is_unknown() -> None:
    assert judge(lane(P), lane(E)).verdict is Verdict.UNKNOWN
    assert judge(lane(E), lane(P)).verdict is Verdict.UNKNOWN


def test_rule_5_good() -> None:
    judged = judge(lane(P), lane(P))
    assert (judged.verdict, change(judged)) == (Verdict.GOOD, Change.SAME)


def test_fixed_is_good_and_named() -> None:
    judged = judge(lane(F), lane(P))
    assert judged.verdict is Verdict.GOOD
    assert judged.ids(Change.FIXED) == [T]


def test_repeated_once_only_is_suspect() -> None:
    judged = judge(lane(*[P] * ATTEMPTS), lane(F, P, P, P, P))
    assert (judged.verdict, change(judged)) == (Verdict.UNKNOWN, Change.SUSPECT)


def test_not_repeated_is_not_confirmed() -> None:
    assert change(judge(lane(P), lane(F))) is Change.SUSPECT
    assert change(judge(lane(P), lane(F, F))) is Change.SUSPECT  # base was not asked often enough


def test_base_too_is_flaky_reported_and_not_blamed() -> None:
    judged = judge(lane(P, P, F), lane(F, F))
    assert (judged.verdict, change(judged)) == (Verdict.GOOD, Change.FLAKY)


def test_flaky_base_failure_does_not_excuse_a_panic() -> None:
    judged = judge(lane(P, F, P, P, P), lane(L, L))
    assert change(judged) is Change.REGRESSED


def test_wrong_draft_base_does_not_boot_is_good() -> None:
    base = LaneResults((Result("stage/build", P), Result("stage/boot", L)))
    assert judge(base, lane(P)).verdict is not Verdict.GOOD


def test_wrong_draft_a_test_vanished_is_good() -> None:
    head = LaneResults((*STAGES, Result("test_x.py::test_b", P)), frozenset({"test_x.py::test_b"}))
    assert judge(lane(P), head).verdict is not Verdict.GOOD


def test_wrong_draft_base_never_reached_a_test_is_bad() -> None:
    base = LaneResults((*STAGES, Result("test_x.py::test_b", P)), frozenset({T, "test_x.py::test_b"}))
    judged = judge(base, lane(F, F))
    assert (judged.verdict, change(judged)) == (Verdict.UNKNOWN, Change.UNANSWERED)


def test_wrong_draft_a_failing_test_now_panics_is_good() -> None:
    assert judge(lane(*[F] * ATTEMPTS), lane(L, L)).verdict is Verdict.BAD


def test_nothing_passed_shows_nothing() -> None:
    judged = judge(lane(S, other=S), lane(S, other=S))
    assert judged.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("old", [F, L])
def test_a_better_result_is_asked_until_it_was_seen_twice_on_both_lanes(old: Outcome) -> None:
    bad, good = Result(T, old), Result(T, P)
    assert improvements(lane(old), lane(P)) == [T]
    assert wants_more("base", [bad], [good])
    assert wants_more("head", [bad], [good])
    assert not wants_more("head", [bad], [good, good])
    assert not wants_more("base", [bad, good], [good])  # base did well, too: nothing to thank for
    assert not wants_more("head", [bad, Result(T, E)], [good, Result(T, E)])
    once, twice = compared(lane(old), lane(P)), compared(lane(old, old), lane(P, P))
    assert (once.change, once.mended) == (Change.FIXED, False)
    assert (twice.change, twice.mended) == (Change.FIXED, True)
    assert not compared(lane(old, E), lane(P, P)).mended  # an answer of ours is none


@pytest.mark.parametrize(("old", "new"), [((F, P), (P, P)), ((F, F), (P, F))])
def test_what_is_not_always_better_is_flaky_and_changes_no_verdict(
    old: tuple[Outcome, ...], new: tuple[Outcome, ...]
) -> None:
    judged = judge(lane(*old, other=P), lane(*new, other=P))
    assert (judged.verdict, change(judged)) == (Verdict.GOOD, Change.FLAKY)


def test_what_is_better_once_and_worse_when_asked_again_is_not_good() -> None:
    judged = judge(lane(F, F, other=P), lane(P, L, other=P))
    assert (judged.verdict, change(judged)) == (Verdict.UNKNOWN, Change.SUSPECT)


def test_a_better_stage_is_not_asked_again() -> None:
    assert improvements(LaneResults((Result("stage/boot", L),)), LaneResults((Result("stage/boot", P),))) == []


def test_suspects_are_what_is_asked_again_and_stages_are_not() -> None:
    head = LaneResults((Result("stage/build", P), Result("stage/boot", L), Result(T, F)))
    assert suspects(lane(P), head) == [T, "test_x.py::test_b"]


def test_head_is_asked_until_confirmed_and_base_five_times() -> None:
    bad, good = Result(T, F), Result(T, P)
    assert wants_more("head", [good], [bad])
    assert not wants_more("head", [good], [bad, bad])
    assert wants_more("base", [good] * 4, [bad, bad])
    assert not wants_more("base", [good] * ATTEMPTS, [bad, bad])
    assert not wants_more("base", [good, bad], [bad])  # base too: the question is answered
    assert not wants_more("head", [good], [bad, Result(T, E)])


def test_alone_rests_on_known_failures() -> None:
    assert judge_alone(lane(P)).verdict is Verdict.GOOD
    assert judge_alone(lane(F, F)).verdict is Verdict.BAD
    assert judge_alone(lane(P, P, F, P, F)).verdict is Verdict.GOOD, "it was asked once, and passed"
    assert judge_alone(LaneResults((Result("stage/boot", L),))).verdict is Verdict.BAD, "a stage is not repeated"
    assert judge_alone(lane(E)).verdict is Verdict.UNKNOWN
    assert judge_alone(lane(P, other=None)).verdict is Verdict.UNKNOWN
    assert judge_alone(LaneResults()).verdict is Verdict.UNKNOWN


def test_alone_a_failure_is_asked_again_before_it_is_blamed() -> None:
    assert failures(LaneResults((Result("stage/boot", L), Result(T, F), Result("test_x.py::test_b", S)))) == [T]
    assert wants_more_alone([Result(T, F)])
    assert wants_more_alone([Result(T, F), *[Result(T, P)] * 3])
    assert not wants_more_alone([Result(T, F), Result(T, P), Result(T, L)])
    assert not wants_more_alone([Result(T, F), *[Result(T, P)] * 4])
    assert not wants_more_alone([Result(T, F), Result(T, E)])
    once = judge_alone(lane(F, P, P, P, P))
    assert once.verdict is Verdict.UNKNOWN
    assert once.ids(Change.SUSPECT) == [T]
    assert "1 of 5" in once.reasons[0]
    assert judge_alone(lane(L, P, F)).verdict is Verdict.BAD


def test_overall_is_the_worst() -> None:
    good, bad = judge(lane(P), lane(P)), judge(lane(*[P] * ATTEMPTS), lane(F, F))
    unknown = judge(lane(P), lane(E))
    assert overall([good, unknown, bad]) is Verdict.BAD
    assert overall([good, unknown]) is Verdict.UNKNOWN
    assert overall([good]) is Verdict.GOOD
    assert overall([]) is Verdict.UNKNOWN


def test_what_is_known_to_fail_was_not_fixed() -> None:
    passed = lane(P)
    hidden = LaneResults(tuple(replace(r, known=r.id == T) for r in passed.results), passed.planned)
    assert change(judge(lane(F), passed)) is Change.FIXED
    assert change(judge(lane(F), hidden)) is Change.SAME


def test_what_a_kernel_says_in_a_later_guest_counts() -> None:
    """Every guest tells of its boot, whatever it is asked again; of the tests only those that looked bad are."""

    def log(*outcomes: Outcome) -> LaneResults:
        return LaneResults(tuple(Result(KERNEL_LOG, outcome, attempt=n) for n, outcome in enumerate(outcomes, 1)))

    assert suspects(log(P), log(P, L)) == [KERNEL_LOG]
    assert judge(log(P), log(P, L)).verdict is Verdict.UNKNOWN
    assert judge(log(P, P, P, P, P), log(P, L, L)).verdict is Verdict.BAD
    assert judge(log(P, P, L), log(P, L, P)).verdict is Verdict.GOOD, "base's kernel does so, too"
    assert judge(log(P, P, P, L, P), log(F, F)).verdict is Verdict.BAD, "a base that died once excuses no warning"
    assert failures(log(P, L)) == [KERNEL_LOG]
    assert judge_alone(log(P, L)).verdict is Verdict.UNKNOWN
    assert judge_alone(log(P, L, L)).verdict is Verdict.BAD


def test_what_only_head_could_not_be_asked_says_why() -> None:
    found = judge(lane(P), LaneResults((*lane(P).results, Result("kmemleak/suite", E, "kmemleak did not look\nmore"))))
    assert found.verdict is Verdict.UNKNOWN
    assert found.reasons == ("kmemleak/suite: kmemleak did not look",)
