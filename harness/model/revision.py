# SPDX-License-Identifier: GPL-2.0-only
"""A series against its previous revision: what came out otherwise, which trailers came along, which remarks were made.
Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.model.finding import Finding
from harness.model.judge import CONFIRM, LaneResults, worse
from harness.model.report import Report
from harness.model.result import Outcome, Result

KEPT = ("Reviewed-by", "Acked-by", "Tested-by", "Reported-by", "Suggested-by", "Co-developed-by")
"""Trailers that people gave and that an author carries along."""


class Turn(StrEnum):
    """What became of one test from the previous revision to this one."""

    WORSE = "worse"
    BETTER = "better"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True)
class Changed:
    """One test that came out otherwise with all of the series in place. ``old`` and ``new`` are all its answers,
    none where it is missing; ``uncertain``: not all of them agree, or the bad one was asked once only."""

    test: str
    turn: Turn
    old: tuple[Result, ...]
    new: tuple[Result, ...]

    @property
    def shows(self) -> Result:
        """The answer that shows the difference: the bad one."""
        one, other = (self.new, self.old) if self.turn is Turn.WORSE else (self.old, self.new)
        return (one or other)[0]

    @property
    def findings(self) -> tuple[str, ...]:
        """What the kernel or the leak oracle said in one of them and not in the other, a line each."""
        here, there = (self.new, self.old) if self.turn is Turn.WORSE else (self.old, self.new)
        known = {finding.fingerprint for result in there for finding in result.findings}
        said = (f for result in here for f in result.findings if f.fingerprint not in known)
        return tuple(dict.fromkeys(f"{finding.kind}: {_line(finding)}" for finding in said))


def _line(finding: Finding) -> str:
    """A leak says how much in one line; a splat has a title."""
    text = finding.text.strip()
    return text if text and "\n" not in text else finding.title


def changed(old: LaneResults, new: LaneResults) -> tuple[Changed, ...]:
    """The tests whose answers differ, worse ones first. Worse is what the judge calls so: a test that passed and is
    skipped, too, or missing where nothing cut the lane short."""
    found = []
    for test, one, two in _sides(old, new):
        cut = _cut(old) or bool(one), _cut(new) or bool(two)
        before, after = _answers(one), _answers(two)
        if turn := _turn(before, after, cut):
            found.append(Changed(test, turn, tuple(before), tuple(after)))
    order = list(Turn)
    return tuple(sorted(found, key=lambda change: (order.index(change.turn), change.test)))


def not_compared(old: LaneResults, new: LaneResults) -> tuple[str, ...]:
    """The tests of which nobody knows whether they come out as before: one side could not be asked, or skipped what
    failed on the other. What both skip is as before."""
    differ = {change.test for change in changed(old, new)}
    return tuple(
        test
        for test, one, two in _sides(old, new)
        if test not in differ and not _comparable(_answers(one), _answers(two))
    )


def _sides(old: LaneResults, new: LaneResults) -> Iterator[tuple[str, list[Result], list[Result]]]:
    """Every test that one of them planned or answered, with the answers of both; of stages those that both have, or
    where we were at fault."""
    before, after = old.by_id(), new.by_id()
    for test in sorted({*before, *after, *old.planned, *new.planned}):
        one, two = before.get(test, []), after.get(test, [])
        stage = next((result.is_stage for result in (*one, *two)), False)
        if not stage or (one and two) or not _answers((*one, *two)):
            yield test, one, two


def _answers(results: Sequence[Result]) -> list[Result]:
    return [result for result in results if result.outcome is not Outcome.ERROR]


def _cut(lane: LaneResults) -> bool:
    """Whether a test that is missing means nothing: we cut the lane short, or one of its stages failed."""
    return lane.broken or any(result.is_stage and result.outcome is not Outcome.PASS for result in lane.results)


def _turn(one: Sequence[Result], two: Sequence[Result], cut: tuple[bool, bool]) -> Turn | None:
    """What became of one test. ``cut``, for each side: that it has no answer means nothing."""
    better, bad = _all(two, one), _all(one, two)
    if better or bad:
        return Turn.BETTER if better else Turn.WORSE
    first, second = next(iter(one), None), next(iter(two), None)
    return Turn.UNCERTAIN if worse(first, second, cut[1]) or worse(second, first, cut[0]) else None


def _comparable(one: Sequence[Result], two: Sequence[Result]) -> bool:
    return bool(one and two) and (one[0].outcome is Outcome.SKIP) == (two[0].outcome is Outcome.SKIP)


def _all(good: Sequence[Result], bad: Sequence[Result]) -> bool:
    """Whether each of ``bad`` is worse than each of ``good``, and was asked again: once may be a busy machine."""
    return bool(good) and len(bad) >= CONFIRM and all(worse(one, other) for one in good for other in bad)


@dataclass(frozen=True)
class Carried:
    """Trailers of the previous revision and of what was answered to it, against those of this one."""

    kept: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    new: tuple[str, ...] = ()


def carried(old: Iterable[str], given: Iterable[str], new: Iterable[str]) -> Carried:
    """``old``: trailers of the previous revision, ``given``: those in answers to it, ``new``: this revision's."""
    before = dict.fromkeys(t for t in (*old, *given) if t.partition(":")[0] in KEPT)
    now = dict.fromkeys(t for t in new if t.partition(":")[0] in KEPT)
    there = {_who(trailer) for trailer in now}
    was = {_who(trailer) for trailer in before}
    return Carried(
        tuple(t for t in before if _who(t) in there),
        tuple(t for t in before if _who(t) not in there),
        tuple(t for t in now if _who(t) not in was),
    )


def _who(trailer: str) -> tuple[str, str]:
    """The kind of a trailer, and the address (or name) in it: names are written in many ways."""
    kind, _, value = trailer.partition(":")
    _, bracket, rest = value.rpartition("<")
    return kind.lower(), (rest.rstrip("> ") if bracket else value.strip()).lower()


@dataclass(frozen=True)
class Remark:
    """An answer to the previous revision by somebody who is not its author. ``quoted``: how many lines of the mail that
    it answers it quotes; ``trailers``: what it gives. ``answered``: the author wrote back. ``state`` is what can be
    told of it, in words."""

    author: str
    subject: str
    message_id: str
    trailers: tuple[str, ...]
    quoted: int
    answered: bool
    state: str

    @property
    def open(self) -> bool:
        """Whether somebody has to look whether this revision answers it: no mail and no trailer says so."""
        return not self.trailers and not self.answered and not self.state.startswith("its author gave")


@dataclass(frozen=True)
class Previous:
    """The revision before. ``spec`` names it, ``how`` says how it was found. ``range_diff``: git's, as lines, of both
    on the same base; empty with ``no_range_diff`` saying why. ``report``: of the run that asked it, None with
    ``no_report`` saying why; ``changed`` are the tests that come out otherwise, ``not_compared`` those of which nobody
    knows. ``remarks``: None when no mails of its discussion are at hand."""

    spec: str
    how: str
    title: str
    revision: int | None
    range_diff: tuple[str, ...] = ()
    no_range_diff: str = ""
    report: Report | None = None
    no_report: str = ""
    changed: tuple[Changed, ...] = ()
    not_compared: tuple[str, ...] = ()
    carried: Carried = Carried()
    remarks: tuple[Remark, ...] | None = None

    @property
    def name(self) -> str:
        """What people call it: v1."""
        return f"v{self.revision}" if self.revision else "the previous revision"
