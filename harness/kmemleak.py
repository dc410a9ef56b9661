# SPDX-License-Identifier: GPL-2.0-only
"""Which test lost memory: a cell's tests once more, in one guest that looks with kmemleak at its end; then halves of
them, down to the one that lost it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.formats.lost_memory import halves, lost_memory
from harness.model.session import Lost
from harness.plan import Cell
from harness.starts import NotRestored, NotUp

Events = list[Mapping[str, Any]]
Ask = Callable[[Sequence[str], Events], Lost | None]
"""Runs these tests in a guest that looks, and adds what they say to the events; raises NotUp and NotRestored."""


def look(
    cell: Cell, events: Sequence[Mapping[str, Any]], ask: Ask, stopped: Callable[[], bool], note: Callable[[str], None]
) -> None:
    """Ask all tests of a cell that ended by themselves once more. ``events`` are those of the lane."""
    parts = [tests] if (tests := to_look_at(cell, events)) else []
    while parts and not stopped():
        new: Events = []
        try:
            lost = ask(parts.pop(), new)
        except (NotRestored, NotUp) as problem:
            lost = Lost(True, str(problem), "")
        if lost is not None:
            what = lost.evidence.splitlines()[0]
            note(f"{cell.lane}: kmemleak did not look at {cell.group or 'the suite'}: {what}")
            return
        parts += halves(who_lost_memory(new))


def to_look_at(cell: Cell, events: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The tests of a cell that passed or failed; none if they were looked at before."""
    mine = [e for e in events if e.get("event") == "boot" and e["attempt"] == cell.attempt]
    boots = {e["boot"] for e in mine if e.get("group", "") == cell.group}
    if any(e["boot"] in boots for e in mine if e.get("naming")):
        return ()
    ended = dict.fromkeys(
        str(e["id"])
        for e in events
        if e.get("event") == "test-end" and e.get("boot") in boots and e.get("outcome") in ("pass", "fail")
    )
    return tuple(test for test in ended if cell.tests is None or test in cell.tests)


def who_lost_memory(new: Sequence[Mapping[str, Any]]) -> list[str]:
    """The tests of a guest in which kmemleak found something."""
    if not any(lost_memory(event).then for event in new if event.get("event") == "suite-end"):
        return []
    return [str(event["id"]) for event in new if event.get("event") == "test-start"]
