# SPDX-License-Identifier: GPL-2.0-only
"""Which test lost memory: a cell's tests once more, in one guest that looks with kmemleak at its end; then halves of
them, down to the one that lost it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.formats.lost_memory import halves, lost_memory
from harness.model.result import KERNEL_LOG
from harness.model.session import Lost
from harness.plan import Cell
from harness.starts import NotRestored, NotUp

Events = list[Mapping[str, Any]]
Ask = Callable[[Sequence[str]], Lost | None]
"""Runs these tests in a guest that looks; raises NotUp and NotRestored."""


def look(
    cell: Cell, events: Sequence[Mapping[str, Any]], ask: Ask, stopped: Callable[[], bool], note: Callable[[str], None]
) -> tuple[Sequence[str], str]:
    """Ask all tests of a cell that ended by themselves once more. ``events`` are those of the lane, and grow; where an
    earlier process was stopped, this goes on. Which tests could not be looked at, and why; empty: all were."""
    while parts := left(cell, events):
        why = "we were stopped" if stopped() else _ask(ask, parts[-1])
        if why or parts[-1] in left(cell, events):
            why = f"kmemleak did not look at {cell.group or 'the suite'}: {why or 'it is off'}"
            note(f"{cell.lane}: {why}")
            return parts[-1], why
    return (), ""


def _ask(ask: Ask, tests: Sequence[str]) -> str:
    """Why one guest did not get to its end; empty: it did."""
    try:
        lost = ask(tests)
    except (NotRestored, NotUp) as problem:
        lost = Lost(True, str(problem), "")
    return lost.evidence.splitlines()[0] if lost is not None else ""


def left(cell: Cell, events: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The groups of a cell's tests that are still to be looked at: all of them at first, then halves of those that lost
    memory, and what a guest that a test spoiled did not get to."""
    guests = [guest for guest in _guests(events) if guest.is_of(cell)] if cell.look else []
    looked = {guest.asked: guest.events for guest in guests if guest.has_looked}
    whole = to_look_at(cell, [event for guest in guests if not guest.naming for event in guest.events])
    parts = [whole] if whole or (guests and KERNEL_LOG in (cell.tests or ())) else []
    unseen = []
    while parts:
        part = parts.pop()
        seen = looked.get(frozenset(part))
        if seen is None:
            unseen.append(part)
            continue
        ran = started(seen)
        parts += halves(who_lost_memory(seen))
        parts += [rest] if ran and (rest := tuple(test for test in part if test not in ran)) else []
    return unseen


@dataclass
class _Guest:
    """One guest of a lane: its "boot", and what came after it."""

    boot: Mapping[str, Any]
    events: Events = field(default_factory=list)

    def is_of(self, cell: Cell) -> bool:
        return (self.boot["attempt"], self.boot.get("group", "")) == (cell.attempt, cell.group)

    @property
    def naming(self) -> bool:
        return bool(self.boot.get("naming"))

    @property
    def asked(self) -> frozenset[str]:
        return frozenset(map(str, self.boot.get("tests", started(self.events))))

    @property
    def has_looked(self) -> bool:
        return self.naming and any("unreferenced" in e for e in self.events if e.get("event") == "suite-end")


def _guests(events: Sequence[Mapping[str, Any]]) -> list[_Guest]:
    guests: dict[object, _Guest] = {}
    for event in events:
        if event.get("event") == "boot":
            guests[event["boot"]] = _Guest(event)
        elif event.get("boot") in guests:
            guests[event["boot"]].events.append(event)
    return list(guests.values())


def to_look_at(cell: Cell, events: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The tests of a cell that passed or failed in these guests."""
    ended = dict.fromkeys(
        str(event["id"])
        for event in events
        if event.get("event") == "test-end" and event.get("outcome") in ("pass", "fail")
    )
    return tuple(test for test in ended if cell.tests is None or test in cell.tests)


def who_lost_memory(new: Sequence[Mapping[str, Any]]) -> list[str]:
    """The tests of a guest in which kmemleak found something."""
    if not any(lost_memory(event).then for event in new if event.get("event") == "suite-end"):
        return []
    return started(new)


def started(new: Sequence[Mapping[str, Any]]) -> list[str]:
    """The tests of a guest, as they ran."""
    return [str(event["id"]) for event in new if event.get("event") == "test-start"]
