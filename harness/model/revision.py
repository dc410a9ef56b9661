# SPDX-License-Identifier: GPL-2.0-only
"""A series against its previous revision: what came out otherwise, which trailers came along, which remarks were made.
Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    """One test that came out otherwise with all of the series in place. ``old`` and ``new`` are all its answers;
    ``uncertain``: not all of them agree, or the bad one
    was asked once only."""

    test: str
    turn: Turn
    old: tuple[Result, ...]
    new: tuple[Result, ...]

    @property
    def shows(self) -> Result:
        """The answer that shows the difference: the bad one."""
        return (self.new if self.turn is Turn.WORSE else self.old)[0]

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
    """The tests whose answers differ, worse ones first. One that either side could not answer tells nothing."""
    before, after = old.by_id(), new.by_id()
    found = []
    for test in before.keys() & after.keys():
        one, two = before[test], after[test]
        if any(r.outcome in (Outcome.ERROR, Outcome.SKIP) for r in (*one, *two)):
            continue
        better, bad = _all(two, one), _all(one, two)
        if better or bad:
            found.append(Changed(test, Turn.BETTER if better else Turn.WORSE, tuple(one), tuple(two)))
        elif worse(one[0], two[0]) or worse(two[0], one[0]):
            found.append(Changed(test, Turn.UNCERTAIN, tuple(one), tuple(two)))
    order = list(Turn)
    return tuple(sorted(found, key=lambda change: (order.index(change.turn), change.test)))


def _all(good: Sequence[Result], bad: Sequence[Result]) -> bool:
    """Whether each of ``bad`` is worse than each of ``good``, and was asked again: once may be a busy machine."""
    return len(bad) >= CONFIRM and all(worse(one, other) for one in good for other in bad)


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
    ``no_report`` saying why. ``remarks``: None when no mails of its discussion are at hand."""

    spec: str
    how: str
    title: str
    revision: int | None
    range_diff: tuple[str, ...] = ()
    no_range_diff: str = ""
    report: Report | None = None
    no_report: str = ""
    changed: tuple[Changed, ...] = ()
    carried: Carried = Carried()
    remarks: tuple[Remark, ...] | None = None

    @property
    def name(self) -> str:
        """What people call it: v1."""
        return f"v{self.revision}" if self.revision else "the previous revision"
