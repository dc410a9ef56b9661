# SPDX-License-Identifier: GPL-2.0-only
"""Numbers of a test side by side, base and head.

They are shown and never judged: what is better, fewer messages or less memory, is for a person to say. The verdict
rests on outcomes alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.model.judge import LaneResults
from harness.model.result import Measure


@dataclass(frozen=True)
class Number:
    """What ``name`` of ``test`` came to on each lane; None where it was not measured, or no such lane ran."""

    test: str
    name: str
    base: Measure | None
    head: Measure | None

    @property
    def differs(self) -> bool:
        return self.base != self.head


def numbers(base: LaneResults | None, head: LaneResults) -> tuple[Number, ...]:
    """All that was measured, by test, in the order in which head's tests measured it."""
    old, new = _first(base or LaneResults()), _first(head)
    return tuple(
        Number(test, name, old.get(test, {}).get(name), new.get(test, {}).get(name))
        for test in dict.fromkeys((*new, *old))
        for name in dict.fromkeys((*new.get(test, ()), *old.get(test, ())))
    )


def _first(lane: LaneResults) -> dict[str, Mapping[str, Measure]]:
    """The measures of each test's first answer that has any: repetitions are there to confirm an outcome."""
    found: dict[str, Mapping[str, Measure]] = {}
    for result in lane.results:
        if result.measures:
            found.setdefault(result.id, result.measures)
    return found


def amount(measure: Measure | None) -> str:
    """For a person: whole MiB or KiB where bytes are that; "-" for none."""
    if measure is None:
        return "-"
    value, unit = measure.value, measure.unit
    for size, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if unit == "bytes" and value and value % size == 0:
            value, unit = value / size, name
            break
    return f"{value:.15g} {unit}".strip()
