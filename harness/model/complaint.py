# SPDX-License-Identifier: GPL-2.0-only
"""What static checks complain about, and which patch of a series brought it. Pure.

Every prefix of a series is asked, base first. A complaint belongs to the patch that adds it: what the prefix before it
does not have, by text. Line numbers do not take part, and each text counts as often as it is there, so that code that
moves is no news and a second line of the same kind is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, order=True)
class Complaint:
    """``file`` is relative to the tree, empty where none is meant (a commit message). For people only: ``line``, 0
    where it is not known, and ``level``, how bad the tool finds it, which depends on how it is asked."""

    file: str
    text: str
    line: int = field(default=0, compare=False)
    level: str = field(default="", compare=False)

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        return f"{place}{self.level}{': ' if self.level else ''}{self.text}"


@dataclass(frozen=True)
class Answer:
    """What one check said about one prefix. ``own`` is about the last patch alone (its mail), ``complaints`` about the
    tree. ``not_asked`` says why there is no answer; then there is nothing else. ``gaps``: parts of it that were not
    asked, such as a semantic patch that this tool cannot run."""

    complaints: tuple[Complaint, ...] = ()
    own: tuple[Complaint, ...] = ()
    not_asked: str = ""
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Added:
    """A complaint, and the patch (from 1) that brought it. ``first`` is smaller where the prefixes between were not
    asked: then one of these patches did. ``fixed`` is the later patch that takes it away again, or 0."""

    complaint: Complaint
    patch: int
    first: int
    fixed: int = 0


@dataclass(frozen=True)
class CheckReport:
    """One check over a series. ``tool`` is its version in its own words. ``not_asked`` maps the number of a prefix (0:
    base) to the reason; ``gone`` are complaints that base has and the whole series has not."""

    name: str
    tool: str = ""
    added: tuple[Added, ...] = ()
    gone: tuple[Complaint, ...] = ()
    not_asked: Mapping[int, str] = field(default_factory=dict)
    gaps: tuple[str, ...] = ()
    asked: tuple[int, ...] = ()

    @property
    def left(self) -> tuple[Added, ...]:
        """What is still there at the end of the series."""
        return tuple(added for added in self.added if not added.fixed)

    @property
    def state(self) -> str:
        """``complains``, ``clean``, or ``not asked`` where base or the whole series has no answer: that is never
        clean."""
        if self.left:
            return "complains"
        return "clean" if not self.not_asked and self.asked else "not asked"


def minus(one: Iterable[Complaint], other: Iterable[Complaint]) -> list[Complaint]:
    """The complaints of ``one`` that ``other`` does not have, each as often as it is there more often."""
    left = Counter(other)
    found = []
    for complaint in one:
        if left[complaint] > 0:
            left[complaint] -= 1
        else:
            found.append(complaint)
    return found


def attribute(name: str, tool: str, answers: Sequence[Answer]) -> CheckReport:
    """Who brought what: ``answers`` are base's, and each prefix's in order."""
    asked = [number for number, answer in enumerate(answers) if not answer.not_asked]
    added: list[Added] = []
    last = 0
    for number in asked:
        answer = answers[number]
        own = [Added(complaint, number, number) for complaint in answer.own]
        before = answers[last]
        if number and not before.not_asked:
            told = [entry.complaint for entry in own]
            added = _fixed(added, minus(before.complaints, answer.complaints), number)
            new = minus(minus(answer.complaints, before.complaints), told)
            own += [Added(complaint, number, last + 1) for complaint in new]
        added += own
        last = number
    gone: list[Complaint] = []
    if asked and asked[0] == 0:
        gone = minus(minus(answers[0].complaints, answers[asked[-1]].complaints), [a.complaint for a in added])
    return CheckReport(
        name,
        tool,
        tuple(added),
        tuple(gone),
        {number: answer.not_asked for number, answer in enumerate(answers) if answer.not_asked},
        tuple(dict.fromkeys(gap for answer in answers for gap in answer.gaps)),
        tuple(asked),
    )


def _fixed(added: Sequence[Added], gone: Iterable[Complaint], number: int) -> list[Added]:
    """What the series had brought itself and patch ``number`` takes away."""
    left = Counter(gone)
    found = []
    for entry in added:
        if not entry.fixed and left[entry.complaint] > 0:
            left[entry.complaint] -= 1
            entry = replace(entry, fixed=number)
        found.append(entry)
    return found
