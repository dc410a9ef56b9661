# SPDX-License-Identifier: GPL-2.0-only
"""What two NPUs said to the same test, and where they differ. Pure.

A target is asked more than once: what it does not repeat itself is unsteady, and says nothing about the other.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest

from harness.model.result import Outcome


@dataclass(frozen=True)
class Message:
    """One message of a mailbox: ``sent`` by the driver, else received by it. ``channel`` counts from 0 in the order in
    which they first speak."""

    channel: int
    sent: bool
    opcode: int

    def __str__(self) -> str:
        return f"{'sends' if self.sent else 'receives'} {self.opcode:#x}"


Calls = tuple[tuple[str, int], ...]
"""System calls by name, each with 0 or a negative errno."""


@dataclass(frozen=True)
class Told:
    """One attempt at one test. ``calls``: those of the test's own process. ``messages``: None where nobody could
    listen."""

    outcome: Outcome
    calls: Calls = ()
    messages: tuple[Message, ...] | None = None
    said: str = ""


class Aspect(StrEnum):
    """In what two answers can differ. ORDER: the same messages, but a channel has others, or in another order. That of
    calls is not looked at: how threads interleave is chance."""

    OUTCOME = "outcome"
    ERRNO = "errno"
    CALLS = "calls"
    MESSAGES = "messages"
    ORDER = "order"


@dataclass(frozen=True)
class Difference:
    """``first`` and ``second`` are what each target told, in words. ``unsteady``: one of them does not repeat itself in
    this."""

    test: str
    aspect: Aspect
    first: str
    second: str
    unsteady: bool = False


@dataclass(frozen=True)
class Unanswered:
    """A test that ``target`` could not be asked, or was not."""

    test: str
    target: str
    why: str


@dataclass(frozen=True)
class Comparison:
    """``asked``: how many tests both have answered. ``deaf``: why the messages of a side are not known. ``once``: who
    has answered only once, so that nobody knows what he does not repeat. ``unlike``: in what they were not asked the
    same. ``skipped``: what one side has answered and the other leaves out of itself: it lacks what the test needs."""

    names: tuple[str, str]
    asked: int
    differences: tuple[Difference, ...]
    deaf: tuple[str, ...] = ()
    unanswered: tuple[Unanswered, ...] = ()
    once: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    skipped: tuple[Unanswered, ...] = ()

    @property
    def status(self) -> int:
        """1: they differ in what each repeats; else 3: a test could not be asked of both, or none was; 0: they answer
        alike."""
        if any(not difference.unsteady for difference in self.differences):
            return 1
        return 3 if self.unanswered or not self.asked else 0


Attempts = Sequence[Mapping[str, Told]]
"""What a target told, by test, once for each time that it was asked."""


def tests(first: Attempts, second: Attempts) -> list[str]:
    """All that anybody was asked, in the order of the first."""
    return list(dict.fromkeys(test for side in (first, second) for attempt in side for test in attempt))


def answers(test: str, side: Attempts) -> list[Told]:
    """What a target answered, each time that it did. An ERROR is no answer: it could not be asked. Nor is a SKIP: it
    was not, where it lacks what the test needs."""
    told = [attempt[test] for attempt in side if test in attempt]
    return [one for one in told if one.outcome not in (Outcome.ERROR, Outcome.SKIP)]


def compare(first: Attempts, second: Attempts) -> list[Difference]:
    """Where the targets differ in tests that both have answered. The first answers are compared; the others only say
    what is unsteady."""
    return [difference for test in tests(first, second) for difference in _of_test(test, first, second)]


def unanswered(first: Attempts, second: Attempts, names: tuple[str, str]) -> list[Unanswered]:
    """What a target has not answered a single time: that is the lab's doing, or nobody's, and no difference."""
    sides = tuple(zip(names, (first, second), strict=True))
    return [
        Unanswered(test, name, _why(test, side))
        for test in tests(first, second)
        for name, side in sides
        if not answers(test, side) and not _skips(test, side)
    ]


def skipped(first: Attempts, second: Attempts, names: tuple[str, str]) -> list[Unanswered]:
    """What one target has answered, and the other always skips: that is said, but it is no difference, and asking again
    would change nothing."""
    sides = ((names[0], first, second), (names[1], second, first))
    return [
        Unanswered(test, name, _why(test, side))
        for test in tests(first, second)
        for name, side, other in sides
        if not answers(test, side) and _skips(test, side) and answers(test, other)
    ]


def _skips(test: str, side: Attempts) -> bool:
    return any(attempt[test].outcome is Outcome.SKIP for attempt in side if test in attempt)


def _why(test: str, side: Attempts) -> str:
    return next((_outcome(attempt[test]) for attempt in side if test in attempt), "not asked")


def _of_test(test: str, first: Attempts, second: Attempts) -> Iterator[Difference]:
    here, there = answers(test, first), answers(test, second)
    if not here or not there:
        return
    unsteady = {aspect for told in (here, there) for aspect in _changes(told)}
    for aspect, one, other in differences(here[0], there[0]):
        yield Difference(test, aspect, one, other, aspect in unsteady)


def _changes(told: Sequence[Told]) -> Iterator[Aspect]:
    """In what a target differs from itself."""
    for again in told[1:]:
        yield from (aspect for aspect, _, _ in differences(told[0], again))


def differences(one: Told, other: Told) -> Iterator[tuple[Aspect, str, str]]:
    """Where two answers to the same test differ."""
    if one.outcome is not other.outcome:
        yield Aspect.OUTCOME, _outcome(one), _outcome(other)
    yield from _calls(one, other)
    if one.messages is not None and other.messages is not None:
        yield from _messages(one.messages, other.messages)


def _outcome(told: Told) -> str:
    first = told.said.splitlines()[0] if told.said and told.outcome is not Outcome.PASS else ""
    return f"{told.outcome}: {first}" if first else told.outcome.value


def _calls(one: Told, other: Told) -> Iterator[tuple[Aspect, str, str]]:
    """The first call that was answered in another way. From where the calls themselves part, by name: what was answered
    to calls that both made, and which calls were made that the other did not make."""
    for place, (here, there) in enumerate(zip(one.calls, other.calls, strict=False), 1):
        if here == there:
            continue
        if here[0] == there[0]:
            yield Aspect.ERRNO, f"call {place}, {here[0]}: {_errno(here[1])}", f"{_errno(there[1])}"
            return
        break
    yield from _answers(one.calls, other.calls)
    names = [Counter(name for name, _ in told.calls) for told in (one, other)]
    if names[0] != names[1]:
        yield Aspect.CALLS, _more(names[0] - names[1]), _more(names[1] - names[0])


def _answers(one: Calls, other: Calls) -> Iterator[tuple[Aspect, str, str]]:
    """The first name that was answered otherwise, whatever the order. Where one called more often, how often it got the
    same answer says nothing."""
    for name in dict.fromkeys(name for name, _ in one):
        sides = [Counter(_errno(answer) for called, answer in side if called == name) for side in (one, other)]
        if sides[0].total() != sides[1].total():
            sides = [Counter(set(side)) for side in sides]
        if sides[0] != sides[1] and sides[1]:
            yield Aspect.ERRNO, f"{name}: {_more(sides[0] - sides[1])}", _more(sides[1] - sides[0])
            return


def _messages(one: Sequence[Message], other: Sequence[Message]) -> Iterator[tuple[Aspect, str, str]]:
    """Which messages only one has; else the first place, by channel and direction, at which they differ. How these
    interleave is chance: a driver does not wait for every answer before it sends on."""
    counts = [Counter(map(str, side)) for side in (one, other)]
    if counts[0] != counts[1]:
        yield Aspect.MESSAGES, _more(counts[0] - counts[1]), _more(counts[1] - counts[0])
        return
    for channel, sent in sorted({(message.channel, message.sent) for message in (*one, *other)}):
        sides = [[str(m) for m in side if (m.channel, m.sent) == (channel, sent)] for side in (one, other)]
        for place, (here, there) in enumerate(zip_longest(*sides, fillvalue="nothing"), 1):
            if here != there:
                yield Aspect.ORDER, f"channel {channel}, message {place}: {here}", there
                return


def _errno(result: int) -> str:
    return errno.errorcode.get(-result, os.strerror(-result)) if result else "succeeds"


def _more(counts: Counter[str]) -> str:
    return ", ".join(f"{name} x{count}" if count > 1 else name for name, count in sorted(counts.items())) or "no more"
