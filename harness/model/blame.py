# SPDX-License-Identifier: GPL-2.0-only
"""Which patch of a series did it: every prefix of the series is a lane, compared with base by the judge's own rules.

Pure. A patch is named when the prefix that ends with it is confirmed worse than base, and the prefix before it was
asked just as hard and never was. Where that is not known of some prefixes between, the range is named, or nothing:
never an innocent patch. A stage is blamed like a test; behind a failed stage a test is unknown, not bad.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.model.history import LaneView, Seen, Span, State, histories, spans, still_open
from harness.model.judge import CONFIRM, Change, Judgement, LaneResults, Verdict
from harness.model.result import RANK, Outcome


@dataclass(frozen=True)
class Prefix:
    """The first ``number`` patches of a series, the last of which is called ``title``. The last prefix is the head."""

    number: int
    title: str
    results: LaneResults


@dataclass(frozen=True)
class Culprit:
    """Who broke a test or a stage.

    ``introduced`` has one number, or all that it may be; ``fixed`` likewise, empty when nobody fixed it. ``still``: it
    is there at the head; None when nobody knows. ``taken_out`` says what became of the test without the patch, ``gaps``
    why the prefixes that make a range of it are no answer.
    """

    test: str
    introduced: tuple[int, ...]
    fixed: tuple[int, ...]
    still: bool | None
    total: int
    reason: str = ""
    taken_out: str = ""
    gaps: tuple[tuple[int, str], ...] = ()

    def __str__(self) -> str:
        words = f"introduced by {self._which(self.introduced)}"
        if self.fixed:
            words += f", fixed by {self._which(self.fixed)}"
        elif self.still:
            words += f", still there at {self.total}/{self.total}"
        else:
            words += f"; nobody knows whether it is there at {self.total}/{self.total}"
        return words + (f"; {self.taken_out}" if self.taken_out else "")

    def _which(self, numbers: tuple[int, ...]) -> str:
        """ "2/5 or 3/5 (2/5 does not build)"."""
        why = ", ".join(f"{number}/{self.total} {gap}" for number, gap in self.gaps if number in numbers)
        return " or ".join(f"{number}/{self.total}" for number in numbers) + (f" ({why})" if why else "")


def culprits(
    base: LaneResults, prefixes: Sequence[Prefix], without: Mapping[int, LaneResults | str]
) -> tuple[Culprit, ...]:
    """Who broke what, in the order of base's tests. ``without`` has the series without patch K, or why there is
    none."""
    return tuple(
        _culprit(test, history, span, without)
        for test, history in histories(base, _numbered(prefixes))
        for span in spans(history)
    )


def _numbered(prefixes: Sequence[Prefix]) -> dict[int, LaneResults]:
    return {prefix.number: prefix.results for prefix in prefixes}


def _culprit(test: str, history: Sequence[Seen], span: Span, without: Mapping[int, LaneResults | str]) -> Culprit:
    total, base, first = len(history) - 1, history[0].answers, history[span.first]
    introduced = tuple(range(span.before + 1, span.first + 1))
    fixed = tuple(range(span.last + 1, span.after + 1)) if span.after is not None else ()
    still = False if fixed else True if span.last == total else None
    reason = f"{base[0].outcome} on base, {span.first}/{total} {first.why}"
    if first.answers and not base[0].is_stage:
        reason += f", base 0 of {len(base)}"
    taken_out = ""
    if still and len(introduced) == 1 and introduced[0] in without:
        taken_out = _taken_out(test, history, without[introduced[0]], f"{introduced[0]}/{total}")
    gaps = tuple((number, history[number].why) for number in (*introduced[:-1], *fixed[:-1]))
    return Culprit(test, introduced, fixed, still, total, reason, taken_out, gaps)


def _taken_out(test: str, history: Sequence[Seen], lane: LaneResults | str, name: str) -> str:
    """What taking the patch out showed. It passes when it passed as often as the head was asked to be confirmed."""
    if isinstance(lane, str):
        return f"{name} {lane}"
    base, head = history[0].answers, history[-1].answers
    seen = LaneView(lane).see(test, base)
    if seen.bad or seen.state is State.BAD:
        return f"but without {name} it is there, too"
    if seen.state not in (State.FINE, State.CLEAN) or any(a.outcome not in RANK for a in seen.answers):
        return f"without {name} it could not be asked"
    needed = 1 if base[0].is_stage else max(CONFIRM, len(head))
    if len(seen.answers) < needed:
        return (
            f"without {name} it is fine {len(seen.answers)} of {len(seen.answers)} times, {needed} would say something"
        )
    return f"without {name} it " + ("passes" if base[0].outcome is Outcome.PASS else "is as on base")


def questions(base: LaneResults, prefixes: Mapping[str, Prefix], attempt: int) -> dict[str, tuple[str, ...]]:
    """What to ask in attempt ``attempt`` (from 2), by lane: ``base``, and the names of ``prefixes``.

    Nothing is left to ask when every claim is confirmed, or given up. No lane is asked more than ATTEMPTS times; one
    that comes under suspicion late is through with it in a later attempt than that.
    """
    names = {prefix.number: name for name, prefix in prefixes.items()}
    wanted: dict[str, dict[str, None]] = {}
    for test, history in histories(base, _numbered(list(prefixes.values()))):
        for number in sorted(still_open(history)):
            if len(history[number].answers) < attempt:
                wanted.setdefault(names[number] if number else "base", {})[test] = None
    return {lane: tuple(tests) for lane, tests in wanted.items()}


def verdict(head: Judgement, found: Sequence[Culprit], base: LaneResults, prefixes: Sequence[Prefix]) -> Judgement:
    """The head's verdict with what the prefixes add: a series that breaks something and mends it later is not
    bisectable, and BAD; a prefix without an answer makes GOOD an UNKNOWN."""
    regressed = set(head.ids(Change.REGRESSED))
    reasons = tuple(_with_culprits(reason, [c for c in found if c.test in regressed]) for reason in head.reasons)
    between = tuple(f"{c.test}: {c.reason}; {c}" for c in found if c.test not in regressed)
    if head.verdict is Verdict.BAD:
        return Judgement(Verdict.BAD, (*reasons, *between), head.comparisons)
    if between:
        return Judgement(Verdict.BAD, (*between, *reasons), head.comparisons)
    doubts = _doubts(base, prefixes)
    if doubts:
        known = reasons if head.verdict is Verdict.UNKNOWN else ()
        return Judgement(Verdict.UNKNOWN, (*known, *doubts), head.comparisons)
    return head


def _with_culprits(reason: str, found: Sequence[Culprit]) -> str:
    return "; ".join([reason, *(str(culprit) for culprit in found if reason.startswith(f"{culprit.test}: "))])


def _doubts(base: LaneResults, prefixes: Sequence[Prefix]) -> tuple[str, ...]:
    """What is not known about the prefixes before the head. About the head the judge says it."""
    suspect: list[str] = []
    missing: dict[str, list[str]] = {}
    for test, history in histories(base, _numbered(prefixes)):
        total = len(history) - 1
        bad = [f"{number}/{total}" for number, seen in enumerate(history) if seen.state is State.BAD]
        if bad and not spans(history):
            suspect.append(f"{test}: bad now and then at {', '.join(bad)}, clean elsewhere: no patch is blamed")
            continue
        for number, seen in enumerate(history[:-1]):
            if seen.state is State.DOUBT:
                suspect.append(f"{test}: {number}/{total} {seen.why}, but not confirmed")
            elif seen.state is State.UNKNOWN:
                missing.setdefault(f"not known at {number}/{total}, which {seen.why}", []).append(test)
    for number, prefix in enumerate(prefixes[:-1], 1):
        for result in prefix.results.results:
            if result.outcome is Outcome.ERROR and result.id not in base.by_id():  # it is in no history
                why = f"not known at {number}/{len(prefixes)}, which could not be asked"
                missing.setdefault(why, []).append(result.id)
    lines = (
        f"{', '.join(tests[:3])}{f' and {len(tests) - 3} more' if tests[3:] else ''}: {why}"
        for why, tests in missing.items()
    )
    return (*suspect, *lines)
