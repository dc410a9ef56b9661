# SPDX-License-Identifier: GPL-2.0-only
"""The verdict without a control lane: the known failures are the control.

Pure. What fails and is not known is asked again in fresh guests, at most ATTEMPTS times: CONFIRM failures are BAD, one
alone is suspect (UNKNOWN). A stage is what it is: it is not repeated.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.model.judge import CONFIRM, Change, Comparison, Judgement, LaneResults, counted, exhausted, verdict_of
from harness.model.result import RANK, Outcome, Result


def _failed(result: Result) -> bool:
    return RANK.get(result.outcome, 0) > 0


def failures(head: LaneResults) -> list[str]:
    """The tests whose first answer is a failure, and a kernel's log of which any is: what has to be asked again where
    there is no base."""
    return [
        test
        for test, answers in head.by_id().items()
        if not answers[0].is_stage and any(map(_failed, counted(test, answers)))
    ]


def wants_more_alone(head: Sequence[Result]) -> bool:
    """Whether a failure still has to be asked again where there is no base: until it was seen CONFIRM times."""
    return not exhausted(head) and sum(map(_failed, head)) < CONFIRM


def judge_alone(head: LaneResults) -> Judgement:
    """The verdict without a control lane: it rests on the known failures alone.

    What is left after these were taken out and fails CONFIRM times is BAD; what fails once, an ERROR, or a test that
    never ran, is UNKNOWN.
    """
    answers = head.by_id()
    ids = dict.fromkeys([*answers, *sorted(head.planned)])
    return verdict_of([_alone(test, answers.get(test, ())) for test in ids])


def _alone(test: str, head: Sequence[Result]) -> Comparison:
    """What one test came to that nothing is compared with."""
    first = head[0] if head else None
    bad = [answer for answer in head if _failed(answer)] if any(map(_failed, counted(test, head))) else []
    count = f"{len(bad)} of {len(head)}"
    change, reason = Change.SAME, ""
    if first is None or first.outcome is Outcome.ERROR:
        change, reason = Change.UNANSWERED, "never ran" if first is None else "could not be asked"
    elif bad and first.is_stage:
        change, reason = Change.REGRESSED, f"{first.outcome}, and not a known failure"
    elif len(bad) >= CONFIRM:
        change, reason = Change.REGRESSED, f"{bad[0].outcome}, and not a known failure: {count}"
    elif bad:
        change, reason = Change.SUSPECT, f"{bad[0].outcome}, but not confirmed: {count}"
    return Comparison(test, change, (), tuple(head), reason)
