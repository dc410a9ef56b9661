# SPDX-License-Identifier: GPL-2.0-only
"""Tests over many nights: trend and flake rate. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from harness.model.night import BAD, Answer
from harness.model.rate import Rate

LETTERS = {
    Answer.PASS: ".",
    Answer.SKIP: "s",
    Answer.KNOWN: "k",
    Answer.FLAKY: "~",
    Answer.FAIL: "F",
    Answer.LOST: "L",
    Answer.ERROR: "?",
}
LEGEND = ", ".join(f"{letter} {answer}" for answer, letter in LETTERS.items())


@dataclass(frozen=True)
class Point:
    """What one test came to in one run of one night: ``started`` in seconds of the epoch; ``title`` of the job,
    ``inputs``: a hash of all that the answer depended on (empty: not known); ``folder`` of the run."""

    night: int
    started: float
    title: str
    inputs: str
    kernel: str
    folder: str
    test: str
    answer: Answer
    seconds: float

    def __str__(self) -> str:
        """In words; the time is the machine's own."""
        when = datetime.fromtimestamp(self.started)
        return f"night {self.night}, {when:%Y-%m-%d %H:%M}: {self.answer}, {self.seconds:.1f} s, {self.kernel}"


@dataclass(frozen=True)
class Trend:
    """One test in one job of the matrix, oldest point first."""

    test: str
    title: str
    points: tuple[Point, ...]

    @property
    def letters(self) -> str:
        """A letter for each night in which it was asked (LEGEND)."""
        return "".join(LETTERS[point.answer] for point in self.points)

    @property
    def flakes(self) -> Rate:
        """How many of its answers did not agree with the others of the same kernel, driver and suite; what came out
        both ways within one night counts, what changed with the inputs does not."""
        asked = [p for p in self.points if p.answer in (*BAD, Answer.PASS, Answer.KNOWN, Answer.FLAKY)]
        odd = 0
        for inputs in {p.inputs for p in asked}:
            same = [p for p in asked if p.inputs == inputs]
            flaky = sum(p.answer is Answer.FLAKY for p in same)
            bad = sum(p.answer in BAD for p in same)
            odd += flaky + min(bad, len(same) - flaky - bad)
        return Rate(odd, len(asked))

    @property
    def quiet(self) -> bool:
        """It came out the same, and well, in every night."""
        return len({p.answer for p in self.points}) == 1 and self.points[0].answer not in (*BAD, Answer.FLAKY)


def trends(points: Iterable[Point]) -> list[Trend]:
    """The points by test and job; what needs a look comes first: bad now, then flaky, then what changed."""
    found: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        found.setdefault((point.test, point.title), []).append(point)
    all_of = [Trend(test, title, tuple(row)) for (test, title), row in found.items()]
    return sorted(all_of, key=lambda t: (t.quiet, t.points[-1].answer not in BAD, -t.flakes.times, t.test, t.title))
