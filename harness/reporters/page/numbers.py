# SPDX-License-Identifier: GPL-2.0-only
"""What tests measured, base against head, and the heap over the run."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from harness.model.measures import Number, amount
from harness.model.memory import Held
from harness.model.report import Report
from harness.model.result import Measure
from harness.reporters.page.document import Section
from harness.reporters.page.pictures import memory as picture
from harness.reporters.page.pictures.svg import bar


@dataclass(frozen=True)
class Row:
    """A number on each lane that has it: its name, the lanes as (name, amount, bar)."""

    name: str
    lanes: tuple[tuple[str, str, Markup], ...]
    differs: bool


def measures(report: Report) -> Section | None:
    """Numbers of both lanes; where there is no base, those of the head. What is 0 everywhere says nothing."""
    both = "base" in report.lanes
    shown = [n for n in report.numbers if any(m is not None and m.value for m in (n.base, n.head))]
    if not shown:
        return None
    found = itertools.groupby(shown, key=lambda n: n.test)
    # What differs is what somebody looks for.
    groups = [(test, sorted((_row(n, both) for n in mine), key=lambda row: not row.differs)) for test, mine in found]
    groups.sort(key=lambda group: not any(row.differs for row in group[1]))
    differ = sum(n.differs for n in shown)
    note = f"{differ} of {len(shown)} differ" if both else str(len(shown))
    return Section("measures", "What tests measured", "measures.html", {"groups": groups, "both": both}, note)


def _row(number: Number, both: bool) -> Row:
    lanes = [("base", number.base), ("head", number.head)] if both else [("head", number.head)]
    top = max(measure.value for _, measure in lanes if measure is not None) or 1.0
    bars = tuple((lane, amount(measure), _bar(lane, measure, top)) for lane, measure in lanes)
    return Row(number.name, bars, both and number.differs)


def _bar(lane: str, measure: Measure | None, top: float) -> Markup:
    return bar(f"{lane}: {amount(measure)}", measure.value / top if measure else 0.0, lane)


ROOM = ("heap at the end", "in use at the end", "in use at most", "largest free range at the end")
"""What a replay of a model's tensors measures (tests/target/test_measures.py, test_trace)."""


@dataclass(frozen=True)
class Lane:
    """The pictures of one lane. ``left`` has what each is about, how many MiB fill it either way, and the picture."""

    name: str
    most: str
    heap: Markup | None
    left: tuple[tuple[str, int, Markup], ...]


@dataclass(frozen=True)
class Room:
    """The heap of one lane after a model's tensors came and went."""

    lane: str
    words: str
    svg: Markup


def memory(report: Report) -> Section | None:
    rooms = _rooms(report)
    if not report.memory and not rooms:
        return None
    top = max((test.heap or 0 for tests in report.memory.values() for test in tests), default=0)
    top = max(-(-top // (4 * picture.CHUNK)) * 4 * picture.CHUNK, 4 * picture.CHUNK)
    lanes = [_lane(name, tests, top) for name, tests in report.memory.items()]
    note = "; ".join(f"{lane.name}: {lane.most}" for lane in lanes if lane.most)
    data = {"lanes": lanes, "top": top // picture.MIB, "rooms": rooms}
    return Section("memory", "Heap and memory over the run", "memory.html", data, note)


def _lane(name: str, tests: tuple[Held, ...], top: int) -> Lane:
    asked = any(test.heap is not None for test in tests)
    most = max(tests, key=lambda test: test.heap or 0)
    kinds = [("shared memory", "shmem")]
    kinds += [("other memory", "used")] if any(test.used is not None for test in tests) else []
    left = []
    for words, kind in kinds:
        limit, svg = picture.left(name, tests, kind)
        left.append((words, limit // picture.MIB, svg))
    said = f"at most {(most.heap or 0) // picture.MIB} MiB in {most.chunks or 0} chunk(s)" if asked else ""
    return Lane(name, said, picture.heap(name, tests, top) if asked else None, tuple(left))


def _rooms(report: Report) -> list[tuple[str, list[Room]]]:
    """For each test that measures what :data:`ROOM` names, the heap on each lane."""
    found: dict[str, dict[str, dict[str, Measure]]] = {}
    for number in report.numbers:
        for lane, measure in (("base", number.base), ("head", number.head)):
            if measure is not None and number.name in ROOM:
                found.setdefault(number.test, {}).setdefault(lane, {})[number.name] = measure
    whole = {test: {k: m for k, m in lanes.items() if m.keys() == set(ROOM)} for test, lanes in found.items()}
    top = max((m[ROOM[0]].value for lanes in whole.values() for m in lanes.values()), default=0.0) or 1.0
    return [(test, [_room(lane, m, top) for lane, m in lanes.items()]) for test, lanes in whole.items() if lanes]


def _room(lane: str, measured: Mapping[str, Measure], top: float) -> Room:
    heap, live, most, largest = (measured[name].value for name in ROOM)
    sizes = [f"{value / picture.MIB:.0f} MiB" for value in (heap, most, live, largest)]
    words = "heap {}; in use {} at most, {} at the end; largest free piece {}".format(*sizes)
    return Room(lane, words, picture.room(f"{lane}: {words}", heap, live, most, largest, top))
