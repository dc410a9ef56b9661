# SPDX-License-Identifier: GPL-2.0-only
"""What each prefix of a series says about one test, compared with base by the judge's own rules. Pure.

A history is a list: base at 0, then the prefixes by number, the head last. The judge starts from the first answer of a
lane. Here every answer counts: a prefix that looked fine is asked again because its neighbour is bad, and may turn out
worse then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property

from harness.model.judge import ATTEMPTS, CONFIRM, LaneResults, excuses, worse
from harness.model.result import RANK, Outcome, Result

STAGE_WORDS = {
    "stage/apply": "does not apply",
    "stage/build": "does not build",
    "stage/boot": "does not boot",
    "stage/probe": "does not load its driver",
}


class State(Enum):
    """What a lane is at one test.

    CLEAN: never worse than base in ATTEMPTS answers; BAD: worse at least CONFIRM times. Only these two carry a claim.
    FINE: never worse, but not asked that often. DOUBT: worse, but not confirmed. UNKNOWN: no answer, by our own fault
    or for want of a control. MOOT: nothing to be learned here, and nobody's fault (skipped, behind a failed stage).
    """

    CLEAN = auto()
    BAD = auto()
    FINE = auto()
    DOUBT = auto()
    UNKNOWN = auto()
    MOOT = auto()


@dataclass(frozen=True)
class Seen:
    """What one lane says about one test. ``why`` goes behind the lane's name: "2/5 does not build". ``bad`` of its
    ``answers`` are worse than all of base's."""

    state: State
    why: str = ""
    answers: tuple[Result, ...] = ()
    bad: tuple[Result, ...] = ()

    @property
    def askable(self) -> bool:
        """As the judge has it: not for ever, and not after an ERROR. What never answered is not repeated either."""
        return 0 < len(self.answers) < ATTEMPTS and all(a.outcome is not Outcome.ERROR for a in self.answers)

    @property
    def hopeful(self) -> bool:
        """Bad, or it can still turn out to be."""
        return self.state is State.BAD or (
            self.state is State.DOUBT and (self.askable or len(self.bad) >= CONFIRM)  # then base was not asked enough
        )

    @property
    def good(self) -> int:
        """How many of the answers are not bad."""
        return sum(a.outcome in RANK for a in self.answers) - sum(b.outcome in RANK for b in self.bad)

    @property
    def now_and_then(self) -> bool:
        return bool(self.bad and self.good)


@dataclass(frozen=True)
class LaneView:
    """A lane's results, looked up by test."""

    results: LaneResults

    @cached_property
    def by_id(self) -> dict[str, list[Result]]:
        return self.results.by_id()

    @cached_property
    def stopped(self) -> Seen | None:
        """Why the lane did not get as far as its suite, or to its end; None if every stage passed."""
        for result in self.results.results:
            if result.is_stage and result.outcome is Outcome.ERROR:
                return Seen(State.UNKNOWN, f"could not be asked: {result.id} {result.outcome}")
            if result.is_stage and result.outcome is not Outcome.PASS:
                return Seen(State.MOOT, STAGE_WORDS.get(result.id, f"is {result.outcome} at {result.id}"))
        return None

    @cached_property
    def complete(self) -> bool:
        """Nothing cut this lane short: all that it announced has an answer."""
        return not self.results.broken and self.results.planned <= self.by_id.keys()

    @cached_property
    def files(self) -> frozenset[str]:
        """The files of the suite that were asked here: each announces all its tests at once."""
        return frozenset(_file(test) for test in self.results.planned)

    def see(self, test: str, base: Sequence[Result]) -> Seen:
        """What this lane says about ``test``, of which ``base`` are the answers of base, at least one."""
        answers = tuple(self.by_id.get(test, ()))
        if not answers:
            return self._missing(test, base[0])
        bad = tuple(bad_answers(base, answers))
        if bad:
            words = "has new findings" if bad[0].outcome is base[0].outcome else f"is {bad[0].outcome}"
            if base[0].is_stage:
                return Seen(State.BAD, words, answers, bad)
            confirmed = len(bad) >= CONFIRM and len(base) >= ATTEMPTS
            words += f" {len(bad)} of {len(answers)} times"
            return Seen(State.BAD if confirmed else State.DOUBT, words, answers, bad)
        return _never_worse(base[0], answers)

    def _missing(self, test: str, base: Result) -> Seen:
        """A test is gone, and not only unasked, where a complete lane announced the rest of its file without it."""
        if self.stopped is not None:
            return self.stopped
        unasked = not self.complete or _file(test) not in self.files
        if base.is_stage or unasked or base.outcome is not Outcome.PASS:
            return Seen(State.UNKNOWN, "was not asked")
        return Seen(State.BAD, "does not have it")


def _file(test: str) -> str:
    return test.partition("::")[0]


def _never_worse(base: Result, answers: tuple[Result, ...]) -> Seen:
    ranked = sum(a.outcome in RANK for a in answers)
    if answers[0].outcome is Outcome.ERROR:
        return Seen(State.UNKNOWN, "could not be asked", answers)
    if base.outcome is Outcome.SKIP and any(RANK.get(a.outcome, 0) for a in answers):
        return Seen(State.UNKNOWN, "is not as on base, which skips it", answers)
    if not ranked:
        return Seen(State.MOOT, "skips it", answers)
    if ranked >= ATTEMPTS or base.is_stage:
        return Seen(State.CLEAN, "is fine", answers)
    return Seen(State.FINE, f"is fine, but was asked only {ranked} of {ATTEMPTS} times", answers)


def bad_answers(base: Sequence[Result], answers: Sequence[Result]) -> list[Result]:
    """Those that are worse than every answer of base: what base does now and then, too, is nobody's fault."""
    return [a for a in answers if worse(base[0], a) and not any(worse(base[0], b) and excuses(b, a) for b in base)]


def histories(base: LaneResults, lanes: Mapping[int, LaneResults]) -> Iterator[tuple[str, list[Seen]]]:
    """Each test and stage of base with its history; none where base failed a stage: no control, no claim."""
    if any(r.is_stage and r.outcome is not Outcome.PASS for r in base.results):
        return
    total = max(lanes, default=0)
    views = [LaneView(lanes.get(number, LaneResults())) for number in range(1, total + 1)]
    for test, answers in base.by_id().items():
        if answers[0].outcome is not Outcome.ERROR:
            yield test, [Seen(State.CLEAN, answers=tuple(answers)), *(view.see(test, answers) for view in views)]


@dataclass(frozen=True)
class Span:
    """Bad prefixes from ``first`` to ``last``, between the clean ones ``before`` and ``after`` (None: to the end)."""

    before: int
    first: int
    last: int
    after: int | None


def spans(history: Sequence[Seen]) -> list[Span]:
    """What was broken, and mended perhaps. Where a bug shows too rarely for one clean prefix to prove anything, the
    clean one before that bounds it; base alone does not, unless the head is bad, too."""
    if comes_and_goes(history):
        return []
    found = []
    clean: list[int] = []
    first = last = 0
    back = -2 if _rare(history) else -1
    for number, seen in enumerate(history):
        if seen.state is State.BAD:
            first, last = first or number, number
        elif seen.state is State.CLEAN:
            if first:
                found.append(Span(clean[back:][0], first, last, number))
            clean.append(number)
            first = 0
    proven = back == -1 or len(clean) > 1 or last == len(history) - 1
    if first and proven:
        found.append(Span(clean[back:][0], first, last, None))
    return found


def _rare(history: Sequence[Seen]) -> bool:
    """Bad in no more than two of three answers, where it is bad at all."""
    bad = sum(len(seen.bad) for seen in history)
    return 0 < bad <= 2 * sum(seen.good for seen in history if seen.bad)


def comes_and_goes(history: Sequence[Seen]) -> bool:
    """Bad now and then, clean at a later prefix, bad again at one still later: as good as flaky. What is bad so rarely
    that it may only look clean at the end is, too."""
    ever = [number for number, seen in enumerate(history) if seen.bad]
    if not any(seen.now_and_then for seen in history):
        return False
    end = len(history) if _rare(history) else ever[-1]
    return any(seen.state is State.CLEAN for seen in history[ever[0] : end])


def still_open(history: Sequence[Seen]) -> set[int]:
    """The lanes that still have to answer about one test: the bad ones until they are confirmed; then base, and the
    prefixes on both sides that look fine, until they are clean. What is bad now and then is asked everywhere."""
    base = history[0].answers
    hopeful = [number for number, seen in enumerate(history) if seen.hopeful]
    if base[0].is_stage or not hopeful or (len(base) < ATTEMPTS and not history[0].askable):
        return set()
    wanted = {n for n in hopeful if history[n].askable and len(history[n].bad) < CONFIRM}
    if len(base) < ATTEMPTS:
        wanted.add(0)
    if any(seen.now_and_then for seen in history):
        return wanted | {n for n, seen in enumerate(history) if n and seen.state is State.FINE and seen.askable}
    beside = (_neighbour(history, number, step) for number in hopeful for step in (-1, 1))
    return wanted | {number for number in beside if number}


def _neighbour(history: Sequence[Seen], number: int, step: int) -> int:
    """The nearest prefix that could be confirmed as clean but is not yet; 0 if one that decides comes first."""
    number += step
    while 0 < number < len(history):
        seen = history[number]
        if seen.state is State.FINE and seen.askable:
            return number
        if seen.state is State.CLEAN or seen.hopeful:
            return 0
        number += step
    return 0
