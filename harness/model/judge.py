# SPDX-License-Identifier: GPL-2.0-only
"""Blame comes from the control lane: compare base and head, never match words in a log.

Pure. The rules, per (variant, test), in this order:

1. base failed a stage: UNKNOWN. No control, no claim.
2. a stage passed on base and failed on head: BAD.
3. worse is PASS < FAIL < LOST, or PASS on base and SKIP or missing on head, or FAIL on both with a finding that base
   does not have. A confirmed worse result is BAD even if other cells are ERROR. Missing because of our own ERROR or
   restart is never worse.
4. otherwise, any ERROR or missing cell: UNKNOWN.
5. else GOOD.

A worse result is repeated, up to ATTEMPTS times, in fresh guests on both lanes: base never and head at least CONFIRM
times is confirmed; head only once is suspect (UNKNOWN); base too is flaky: reported, not hidden, not blamed.

A better result changes no verdict, but somebody may be thanked for it: it is asked until it was seen CONFIRM times on
both lanes. One answer to the contrary makes it flaky, one that is worse than base's suspect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from harness.model.result import KERNEL_LOG, RANK, Outcome, Result

ATTEMPTS = 5
CONFIRM = 2


class Verdict(StrEnum):
    """What a run says about its series."""

    GOOD = "GOOD"
    BAD = "BAD"
    UNKNOWN = "UNKNOWN"


EXIT_CODES = {Verdict.GOOD: 0, Verdict.BAD: 1, Verdict.UNKNOWN: 3}


class Change(StrEnum):
    """What became of one test from base to head."""

    SAME = "same"
    FIXED = "fixed"
    REGRESSED = "regressed"
    SUSPECT = "suspect"
    FLAKY = "flaky"
    UNANSWERED = "unanswered"


@dataclass(frozen=True)
class LaneResults:
    """All that a lane answered on one variant: every attempt, in order, known failures already taken out.

    ``planned`` are the test ids that the lane's own suite announced; ``broken`` says that the lane was cut short by an
    ERROR or a restart of ours, so that a missing test means nothing.
    """

    results: tuple[Result, ...] = ()
    planned: frozenset[str] = frozenset()
    broken: bool = False

    def by_id(self) -> dict[str, list[Result]]:
        answers: dict[str, list[Result]] = {}
        for result in self.results:
            answers.setdefault(result.id, []).append(result)
        return answers


@dataclass(frozen=True)
class Comparison:
    """One test or stage on both lanes, and why it is called what it is called."""

    id: str
    change: Change
    base: tuple[Result, ...]
    head: tuple[Result, ...]
    reason: str = ""

    @property
    def mended(self) -> bool:
        """FIXED, and seen as often as a claim needs: what was asked once may have been luck."""
        return self.change is Change.FIXED and all(_answered(lane) >= CONFIRM for lane in (self.base, self.head))

    @property
    def otherwise(self) -> bool:
        """As bad on both lanes, but not by the same words: nobody is blamed for that, and somebody should look."""
        bad = (Outcome.FAIL, Outcome.LOST)
        both = [lane[0] for lane in (self.base, self.head) if lane and lane[0].outcome in bad]
        return self.change is Change.SAME and len({answer.said for answer in both}) > 1


@dataclass(frozen=True)
class Judgement:
    """The verdict on one variant, with its reasons, worst first."""

    verdict: Verdict
    reasons: tuple[str, ...]
    comparisons: tuple[Comparison, ...] = field(default=())

    def ids(self, change: Change) -> list[str]:
        return [c.id for c in self.comparisons if c.change is change]


def worse(base: Result | None, head: Result | None, head_broken: bool = False) -> str:
    """Why ``head`` is worse than ``base``; empty when it is not, or when one of them is no answer."""
    if base is None or base.outcome in (Outcome.SKIP, Outcome.ERROR):
        return ""
    if head is None:
        return "" if head_broken or base.outcome is not Outcome.PASS else "passed on base, is missing on head"
    if head.outcome is Outcome.ERROR:
        return ""
    if head.outcome is Outcome.SKIP:
        return "passed on base, is skipped on head" if base.outcome is Outcome.PASS else ""
    if RANK[head.outcome] > RANK[base.outcome]:
        return f"{base.outcome} on base, {head.outcome} on head"
    new = head.fingerprints - base.fingerprints
    if new and base.outcome is head.outcome is Outcome.FAIL:
        return f"fails on both, but head has {len(new)} new finding(s)"
    return ""


def suspects(base: LaneResults, head: LaneResults) -> list[str]:
    """The tests whose first answer is worse on head, and a kernel's log that is so later: what has to be asked again.
    Stages are not repeated."""
    new = head.by_id()
    return [
        test
        for test, answers in base.by_id().items()
        if not answers[0].is_stage
        and any(worse(answers[0], answer, head.broken) for answer in counted(test, new.get(test, ())) or (None,))
    ]


def counted(test: str, answers: Sequence[Result]) -> Sequence[Result]:
    """Those that make a suspect: the first one, since only what had looked bad was asked again; but every guest tells
    of its kernel's log."""
    return answers if test == KERNEL_LOG else answers[:1]


def improvements(base: LaneResults, head: LaneResults) -> list[str]:
    """The tests whose first answer is better on head. Stages are not repeated."""
    old = base.by_id()
    new = {test: answers[0] for test, answers in head.by_id().items() if test in old and not answers[0].is_stage}
    return [test for test, answer in new.items() if _better(old[test][0], answer)]


def _better(base: Result, head: Result) -> bool:
    return base.outcome is not Outcome.SKIP and _well(head) and bool(worse(head, base))


def _well(result: Result) -> bool:
    """Passed by itself, not because its failure is known."""
    return result.outcome is Outcome.PASS and not result.known


def _answered(results: Sequence[Result]) -> int:
    return sum(result.outcome is not Outcome.ERROR for result in results)


def exhausted(answers: Sequence[Result]) -> bool:
    """Whether a test is not asked again on a lane, whatever it said."""
    return len(answers) >= ATTEMPTS or any(result.outcome is Outcome.ERROR for result in answers)


def wants_more(lane: str, base: Sequence[Result], head: Sequence[Result]) -> bool:
    """Whether a suspect, or an improvement, still has to be asked again on ``lane`` ("base" or "head").

    Head is asked until it was worse CONFIRM times, base until it was as bad once, both at most ATTEMPTS times; an
    improvement until both answered CONFIRM times, or one to the contrary.
    """
    answers = base if lane == "base" else head
    if exhausted(answers):
        return False
    if base and head and _better(base[0], head[0]):
        return len(answers) < CONFIRM and not _contradicted(base, head)
    if lane == "head":
        return len(_bad_heads(base, head)) < CONFIRM
    return not _bad_bases(base, head)


def _bad_heads(base: Sequence[Result], head: Sequence[Result]) -> list[Result]:
    return [result for result in head if worse(base[0], result)]


def _bad_bases(base: Sequence[Result], head: Sequence[Result]) -> list[Result]:
    """The answers of base that are as bad as a bad answer of head: then it is not the series."""
    bad = _bad_heads(base, head)
    return [b for b in base[1:] if any(worse(base[0], b) and excuses(b, h) for h in bad)]


def excuses(base: Result, head: Result) -> bool:
    """Whether a bad answer of base is as bad as one of head. Of the kernel's log, which is many things, only like
    excuses like: a base that dies now and then no warning at each boot of head."""
    return not worse(base, head) and (base.id != KERNEL_LOG or base.outcome is head.outcome)


def _compare(test: str, base: Sequence[Result], head: Sequence[Result], head_broken: bool) -> Comparison:
    """Name the change of one test, from all attempts on both lanes."""

    def call(change: Change, reason: str = "") -> Comparison:
        return Comparison(test, change, tuple(base), tuple(head), reason)

    first_base, first_head = (base[0] if base else None), (head[0] if head else None)
    if first_base is None and first_head is not None and first_head.outcome is Outcome.ERROR:
        return call(Change.UNANSWERED, first_head.evidence.partition("\n")[0] or "could not be asked on head")
    if first_base is None or first_base.outcome is Outcome.ERROR:
        return call(Change.UNANSWERED, "no answer from base: no control, no claim")
    if first_head is None and (head_broken or first_base.outcome in (Outcome.SKIP, Outcome.FAIL, Outcome.LOST)):
        return call(Change.UNANSWERED, "never ran on head")
    if first_head is not None and first_head.outcome is Outcome.ERROR:
        return call(Change.UNANSWERED, "could not be asked on head")
    reason = worse(first_base, first_head, head_broken)
    if reason and first_head is None:
        return call(Change.REGRESSED, reason)
    if reason:
        return _confirm(test, base, head, reason)
    assert first_head is not None
    if first_base.outcome is Outcome.SKIP and first_head.outcome in (Outcome.FAIL, Outcome.LOST):
        return call(Change.UNANSWERED, f"skipped on base, {first_head.outcome} on head: no control, no claim")
    if not _better(first_base, first_head):
        later = [why for why in (worse(first_base, answer) for answer in counted(test, head)[1:]) if why]
        return _confirm(test, base, head, f"{later[0]} when asked again") if later else call(Change.SAME)
    reason = f"{first_base.outcome} on base, {first_head.outcome} on head"
    if first_base.is_stage:
        return call(Change.FIXED, reason)
    before, after = sum(not _well(b) for b in base), sum(not _well(h) for h in head)
    counts = f"base {before} of {len(base)}, head {after} of {len(head)}"
    if bad := [why for why in (worse(first_base, answer) for answer in head) if why]:
        return call(Change.SUSPECT, f"{reason} at first, but when asked again: {bad[0]}")
    if _contradicted(base, head):
        return call(Change.FLAKY, f"{reason} at first, but not always: failed on {counts}")
    return call(Change.FIXED, f"{reason}: failed on {counts}")


def _contradicted(base: Sequence[Result], head: Sequence[Result]) -> bool:
    """Whether an improvement was seen to be none: base did well, or head did not."""
    return any(map(_well, base)) or any(not _well(h) for h in head if h.outcome is not Outcome.ERROR)


def _confirm(test: str, base: Sequence[Result], head: Sequence[Result], reason: str) -> Comparison:
    """Decide over a worse result from its repetitions. A stage is what it is: it is not repeated."""
    bad_heads, bad_bases = len(_bad_heads(base, head)), len(_bad_bases(base, head))
    counts = f"head {bad_heads} of {len(head)}, base {bad_bases} of {len(base)}"
    if base[0].is_stage:
        change = Change.REGRESSED
    elif bad_bases:
        change, reason = Change.FLAKY, f"as bad on base when repeated: {counts}"
    elif bad_heads >= CONFIRM and len(base) >= ATTEMPTS:
        change, reason = Change.REGRESSED, f"{reason}: {counts}"
    else:
        change, reason = Change.SUSPECT, f"{reason}, but not confirmed: {counts}"
    return Comparison(test, change, tuple(base), tuple(head), reason)


def judge(base: LaneResults, head: LaneResults) -> Judgement:
    """The verdict on one variant from both lanes."""
    old, new = base.by_id(), head.by_id()
    ids = list(dict.fromkeys([*old, *new, *sorted(base.planned), *sorted(head.planned)]))
    comparisons = [_compare(test, old.get(test, ()), new.get(test, ()), head.broken) for test in ids]
    broken = [r for r in base.results if r.is_stage and r.outcome is not Outcome.PASS]
    if broken:
        reasons = [f"base: {r.id} {r.outcome}: no control, no claim" for r in broken]
        unanswered = [
            Comparison(c.id, Change.UNANSWERED, c.base, c.head, reasons[0]) if c.change is not Change.SAME else c
            for c in comparisons
        ]
        return Judgement(Verdict.UNKNOWN, tuple(reasons), tuple(unanswered))
    if any(c.id.startswith("stage/") and c.change is Change.REGRESSED for c in comparisons):
        # What never ran behind a failed stage is a consequence of it, not a regression of its own.
        comparisons = [
            Comparison(c.id, Change.UNANSWERED, c.base, c.head, "head never got that far") if not c.head else c
            for c in comparisons
        ]
    return verdict_of(comparisons)


def verdict_of(comparisons: Sequence[Comparison]) -> Judgement:
    """The verdict on one variant, from what became of each test."""
    bad = [c for c in comparisons if c.change is Change.REGRESSED]
    unsure = [c for c in comparisons if c.change in (Change.SUSPECT, Change.UNANSWERED)]
    if bad:
        verdict, why = Verdict.BAD, bad
    elif unsure:
        verdict, why = Verdict.UNKNOWN, unsure
    elif not any(r.outcome is Outcome.PASS for c in comparisons if not c.id.startswith("stage/") for r in c.head):
        return Judgement(Verdict.UNKNOWN, ("no test passed on head: nothing was shown",), tuple(comparisons))
    else:
        verdict, why = Verdict.GOOD, []
    return Judgement(verdict, tuple(f"{c.id}: {c.reason}" for c in why), tuple(comparisons))


def overall(judgements: Mapping[str, Judgement] | Iterable[Judgement]) -> Verdict:
    """One verdict over several variants: BAD if any is, else UNKNOWN if any is, or if there is none."""
    all_of = list(judgements.values()) if isinstance(judgements, Mapping) else list(judgements)
    for verdict in (Verdict.BAD, Verdict.UNKNOWN):
        if any(judgement.verdict is verdict for judgement in all_of):
            return verdict
    return Verdict.GOOD if all_of else Verdict.UNKNOWN
