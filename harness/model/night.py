# SPDX-License-Identifier: GPL-2.0-only
"""Nights: in which order the runs of a matrix are worth most, what changed since the last time, what may go. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from harness.model.judge import Change, Comparison, Verdict
from harness.model.result import Outcome

GUESS = 600.0
"""Seconds of a run when nobody knows better."""


class Answer(StrEnum):
    """What a test came to in one night. KNOWN: it failed, and all of that is on the list. FLAKY: fresh guests did not
    agree. ERROR: it could not be asked."""

    PASS = "PASS"
    SKIP = "SKIP"
    KNOWN = "KNOWN"
    FLAKY = "FLAKY"
    FAIL = "FAIL"
    LOST = "LOST"
    ERROR = "ERROR"


BAD = (Answer.FAIL, Answer.LOST)


@dataclass(frozen=True)
class Past:
    """What is known of one job of the matrix. ``asked``: when it ran to its end last, in seconds of the epoch; None:
    never. ``seconds`` it took then; ``inputs`` is a hash of all that its answers depended on."""

    asked: float | None = None
    seconds: float | None = None
    inputs: str = ""
    failing: bool = False


@dataclass(frozen=True)
class Entry:
    """One job of the matrix. ``key`` is a hash of it, ``inputs`` of all that its answers depend on today; empty: not
    known. ``title`` is for people."""

    key: str
    title: str
    inputs: str
    past: Past = field(default_factory=Past)

    @property
    def rank(self) -> int:
        if self.past.asked is None:
            return 0
        if self.inputs and self.inputs != self.past.inputs:
            return 1
        return 2 if self.past.failing else 3

    @property
    def why(self) -> str:
        return ("never run before", "changed since", "failing last time", "the same as last time")[self.rank]


def seconds_of(entry: Entry, known: Mapping[str, float]) -> float:
    """How long it should take: as last time; else as the dearest of the others, so that it is not begun too late."""
    if entry.past.seconds is not None:
        return entry.past.seconds
    return max(known.values(), default=GUESS)


def ordered(entries: Sequence[Entry], now: float) -> list[Entry]:
    """The most valuable first: never run, then changed, then failing, then the oldest. Within the first three what
    costs least, which is most of its kind in the same time; of the rest what has waited longest for its cost."""
    known = {e.key: e.past.seconds for e in entries if e.past.seconds is not None}

    def place(entry: Entry) -> tuple[int, float]:
        cost = max(seconds_of(entry, known), 1.0)
        waited = now - (entry.past.asked or 0.0)
        return entry.rank, (cost if entry.rank < 3 else -waited / cost)

    return sorted(entries, key=place)


def fitting(costs: Sequence[float], left: float, first: bool) -> int | None:
    """The place of the next run that ends in time, of runs in their order; the ``first`` of a night is always begun,
    or a matrix whose runs are all too long would never be asked."""
    if first and costs:
        return 0
    return next((place for place, cost in enumerate(costs) if cost <= left), None)


def answer(comparison: Comparison, known: Collection[str]) -> Answer:
    """What one test came to in one run."""
    outcomes = [result.outcome for result in comparison.head]
    if comparison.change is Change.FLAKY or (comparison.change is Change.SUSPECT and _disagree(outcomes)):
        return Answer.FLAKY
    if comparison.change is Change.UNANSWERED or not outcomes:
        return Answer.FAIL if comparison.change is Change.REGRESSED else Answer.ERROR
    if comparison.change in (Change.REGRESSED, Change.SUSPECT):
        return Answer.LOST if Outcome.LOST in outcomes else Answer.FAIL
    return Answer.KNOWN if comparison.id in known else Answer(outcomes[0])


def _disagree(outcomes: Collection[Outcome]) -> bool:
    """Whether a guest said yes to what another said no to; one that could not be asked said neither."""
    said = set(outcomes) - {Outcome.ERROR}
    return len(said) > 1 and bool(said & {Outcome.PASS, Outcome.SKIP})


def partial(answers: Mapping[str, Answer]) -> bool:
    """Whether tests could not be asked, and no stage of the kernel's that failed says why."""
    failed = any(test.startswith("stage/") and said in BAD for test, said in answers.items())
    return Answer.ERROR in answers.values() and not failed


@dataclass(frozen=True)
class News:
    """What changed in one run since the last time: test ids, sorted. ``still``: as bad as then."""

    worse: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    flaky: tuple[str, ...] = ()
    still: tuple[str, ...] = ()


def news(before: Mapping[str, Answer] | None, now: Mapping[str, Answer]) -> News:
    """``before``: what each test came to the last time that it could be asked; None when there was no last time: then
    every failure is new. A test that cannot be asked now is no news."""
    old = before or {}
    bad = sorted(test for test, said in now.items() if said in BAD)
    return News(
        worse=tuple(test for test in bad if old.get(test) not in BAD),
        fixed=tuple(sorted(t for t, said in now.items() if old.get(t) in BAD and said in (Answer.PASS, Answer.KNOWN))),
        flaky=tuple(sorted(t for t, said in now.items() if said is Answer.FLAKY and old.get(t) is not Answer.FLAKY)),
        still=tuple(test for test in bad if old.get(test) in BAD),
    )


@dataclass(frozen=True)
class Kept:
    """The run folders of a night. ``needed``: it is the last in which one of its jobs failed."""

    night: int
    size: int
    needed: bool


def expired(nights: Sequence[Kept], most: int, size: int) -> list[int]:
    """The nights whose folders may go: all but the newest ``most``, and what is more than ``size`` bytes in all; never
    the newest, and never one that is needed."""
    gone, total = [], 0
    for place, kept in enumerate(sorted(nights, key=lambda kept: -kept.night)):
        total += kept.size
        if place and not kept.needed and (place >= most or total > size):
            gone.append(kept.night)
            total -= kept.size
    return gone


@dataclass(frozen=True)
class NightRun:
    """One job of a night. ``job`` is its TOML, ``folder`` that of the run, relative to the history's; ``state``:
    planned, running, done, trouble or left (out of time); ``said``: why there is trouble."""

    id: int
    night: int
    entry: str
    title: str
    job: str
    inputs: str
    why: str
    folder: str
    state: str
    tries: int
    started: float | None
    seconds: float | None
    verdict: str
    kernel: str
    said: str


@dataclass(frozen=True)
class Told:
    """One run of a night and what changed in it. ``again``: by test, the line that asks it again. ``first``: there was
    no last time. ``wavering``: tests were flaky; ``partial``: tests could not be asked."""

    run: NightRun
    news: News = field(default_factory=News)
    again: Mapping[str, str] = field(default_factory=dict)
    first: bool = False
    wavering: bool = False
    partial: bool = False

    @property
    def trouble(self) -> bool:
        """It has no answer, or only a part of one. That guests do not agree is one, and told as such."""
        unknown = self.run.verdict == Verdict.UNKNOWN and not self.wavering
        return self.run.state == "trouble" or self.given_up or self.partial or unknown

    @property
    def given_up(self) -> bool:
        """It was begun, failed, and the night had no time for it a second time."""
        return self.run.state == "left" and self.run.tries > 0


@dataclass(frozen=True)
class Came:
    """What a night came to; ``runs`` begins with those of nights before it that were cut off and never told."""

    night: int
    runs: tuple[Told, ...]

    @property
    def exit_status(self) -> int:
        """1: something is worse than the last time; 3: not all that was begun has an answer; 0: neither."""
        if any(told.news.worse for told in self.runs):
            return 1
        done = any(told.run.state == "done" for told in self.runs)
        return 3 if not done or any(told.trouble for told in self.runs) else 0
