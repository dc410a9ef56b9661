# SPDX-License-Identifier: GPL-2.0-only
"""What has to be built and tested, decided before anything is done. Pure.

A lane is a tree: ``base`` is without the series, ``head`` with all of it, ``patch-K`` with its first K patches,
``without-K`` with all but patch K. A cell is lane x variant x group of tests x attempt.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.errors import UsageError
from harness.job import Job, SeriesKnowledge
from harness.model.alone import failures, wants_more_alone
from harness.model.edit import Edits
from harness.model.judge import LaneResults, improvements, suspects, wants_more
from harness.model.result import Result
from harness.model.series import Patch, Series
from harness.model.session import Start
from harness.model.tree import Source
from harness.model.variant import Variant

BASE, HEAD = "base", "head"
PREFIX, WITHOUT = "patch-", "without-"


@dataclass(frozen=True)
class Lane:
    """A source and the patches on top of it, in order. ``layers`` holds base patches first, then the series. ``patch``:
    the number (from 1) of the last patch of the series in it, 0 on base. ``edits`` are made on top."""

    name: str
    source: Source
    layers: tuple[Patch, ...] = ()
    patch: int = 0
    edits: tuple[Edits, ...] = ()


WORTH_A_GUEST = 8
"""For fewer tests a second guest costs more than it gains: 3 s for a driver that is probed anew."""


@dataclass(frozen=True)
class Cell:
    """One run of (some of) the suite. ``tests`` None: all that ``select`` leaves. ``group``: the file whose tests these
    are; empty: any. ``start``: from what its guests start, if not as the attempt says. ``look``: whether kmemleak does,
    in a run that asks for it."""

    lane: str
    variant: Variant
    attempt: int = 1
    tests: tuple[str, ...] | None = None
    group: str = ""
    start: Start | None = None
    look: bool = True


@dataclass(frozen=True)
class Plan:
    """The lanes in the order in which they are built, the cells in the order in which they run, and why."""

    lanes: tuple[Lane, ...]
    cells: tuple[Cell, ...]
    notes: tuple[str, ...] = ()

    def lane(self, name: str) -> Lane:
        return next(lane for lane in self.lanes if lane.name == name)


def version_key(version: str) -> tuple[int, ...]:
    """``7.3.4-rc1`` as (7, 3, 4): good enough to compare with the release a series was merged for."""
    return tuple(int(number) for number in re.findall(r"\d+", version.split("-")[0]))


def is_merged(knowledge: SeriesKnowledge | None, version: str) -> bool:
    """Whether a kernel of this version carries the series already."""
    return knowledge is not None and version_key(version) >= version_key(knowledge.merged_in)


def plan(
    job: Job,
    kernel: Source,
    base: Source | None,
    series: Series | None,
    base_patches: Sequence[Patch],
    merged: bool,
    groups: Sequence[str] = (),
    edits: Sequence[Edits] = (),
) -> Plan:
    """Lanes and first cells of a job.

    ``merged``: the series is known to be in ``kernel``, and no base was named: the kernel runs as one lane. ``groups``
    are the suite's files, ``edits`` what is made on top of every lane.
    """
    layers = tuple(base_patches)
    patches = series.patches if series is not None and not merged else ()
    notes: tuple[str, ...] = ()
    lanes: tuple[Lane, ...]
    if base is not None:
        lanes = (Lane(BASE, base), *_series(job, kernel, (), patches))
    elif patches:
        lanes = (Lane(BASE, kernel, layers), *_series(job, kernel, layers, patches))
    elif layers:
        # The kernel carries the series; what takes it out is the base.
        lanes = (Lane(BASE, kernel, layers), Lane(HEAD, kernel))
    else:
        lanes = (Lane(HEAD, kernel),)
        notes = ("one lane, no control: the verdict rests on the known failures alone",)
    lanes = tuple(replace(lane, edits=tuple(edits)) for lane in lanes)
    return Plan(lanes, tuple(cell for lane in lanes for cell in first_cells(job, lane.name, groups)), notes)


def _series(job: Job, kernel: Source, below: tuple[Patch, ...], patches: Sequence[Patch]) -> list[Lane]:
    """The head, and before it every prefix of the series if asked."""
    last = len(patches)
    numbers = range(1, last) if job.per_patch else ()
    prefixes = [Lane(f"{PREFIX}{n}", kernel, (*below, *patches[:n]), n) for n in numbers]
    return [*prefixes, Lane(HEAD, kernel, (*below, *patches), last)]


def without(head: Lane, number: int, below: int) -> Lane:
    """The head without patch ``number`` of its series; ``below`` patches of its layers are the base's."""
    place = below + number - 1
    return Lane(
        f"{WITHOUT}{number}", head.source, head.layers[:place] + head.layers[place + 1 :], head.patch, head.edits
    )


def first_cells(job: Job, lane: str, groups: Sequence[str]) -> list[Cell]:
    """A guest for each file of the suite, so that one test's leftovers cannot reach far, and both cores have work.
    Booted guests are dear, and a selection is small: these get one guest."""
    split = job.start == "restored" and not job.select
    return [Cell(lane, job.variant, group=group) for group in (groups if split and groups else ("",))]


def longest_first(cells: Sequence[Cell], seconds: Mapping[str, float]) -> list[Cell]:
    """The order in which cells are started: by the time their group took earlier, those never seen first."""
    return sorted(cells, key=lambda cell: -seconds.get(cell.group, float("inf")))


def workers(asked: int, cores: int, free_mb: int, guest_mb: int) -> int:
    """How many guests may run side by side: those asked for, or one for each core, as far as memory goes."""
    return asked or max(1, min(cores, free_mb // guest_mb))


def spread(cells: Sequence[Cell], guests: int) -> list[Cell]:
    """Repetitions for as many guests as may run side by side: a cell of many tests is halved, by whole files, while a
    guest would stand idle."""
    spread = list(cells)
    while len(spread) < guests:
        largest = max(spread, key=_size, default=None)
        halves = _halves(largest) if largest is not None and _size(largest) >= WORTH_A_GUEST else []
        if len(halves) < 2 or largest is None:
            break
        spread.remove(largest)
        spread += halves
    return spread


def looked_at(cells: Sequence[Cell], leaky: Collection[str]) -> list[Cell]:
    """Repetitions in which kmemleak, which takes half a minute for a guest, looks only at tests that lost memory."""
    parts = []
    for cell in cells:
        lost = tuple(test for test in cell.tests or () if test in leaky)
        rest = tuple(test for test in cell.tests or () if test not in leaky)
        parts += [replace(cell, tests=tests, look=look) for tests, look in ((lost, True), (rest, False)) if tests]
    return parts


def _size(cell: Cell) -> int:
    return len(cell.tests or ())


def _halves(cell: Cell) -> list[Cell]:
    """A cell in two, the files with the most tests first, each to the smaller part."""
    files: dict[str, list[str]] = {}
    for test in cell.tests or ():
        files.setdefault(test.partition("::")[0], []).append(test)
    parts: tuple[list[str], list[str]] = ([], [])
    for tests in sorted(files.values(), key=len, reverse=True):
        min(parts, key=len).extend(tests)
    return [replace(cell, tests=tuple(part)) for part in parts if part]


def check_job(job: Job) -> None:
    """Refuse what cannot be meant."""
    if job.base and job.base_patch:
        raise UsageError("--base and --base-patch exclude each other", hint="--base-patch makes the base from --kernel")


def repetitions(base: LaneResults, head: LaneResults, variant: Variant, attempt: int, most: int) -> list[Cell]:
    """The cells of attempt ``attempt`` (2 to ``most``): each suspect, and each improvement, on each lane that still has
    to answer it."""
    return _again((*suspects(base, head), *improvements(base, head)), base, head, variant, attempt, most)


def doubts(head: LaneResults, variant: Variant, attempt: int, most: int) -> list[Cell]:
    """The same where there is no base: each failure of head that is not known."""
    answers = head.by_id()
    again = (test for test in failures(head) if len(answers[test]) < attempt and wants_more_alone(answers[test]))
    asked = tuple(again) if attempt <= most else ()
    return [Cell(HEAD, variant, attempt, asked)] if asked else []


def confirmations(base: LaneResults, head: LaneResults, variant: Variant, attempt: int, most: int) -> list[Cell]:
    """The same of improvements alone."""
    return _again(improvements(base, head), base, head, variant, attempt, most)


def _again(
    tests: Sequence[str], base: LaneResults, head: LaneResults, variant: Variant, attempt: int, most: int
) -> list[Cell]:
    lanes = {BASE: base.by_id(), HEAD: head.by_id()} if attempt <= most else {}
    wanted = {
        lane: tuple(test for test in tests if len(answers.get(test, ())) < attempt and _wanted(lane, test, lanes))
        for lane, answers in lanes.items()
    }
    return [Cell(lane, variant, attempt, asked) for lane, asked in wanted.items() if asked]


def _wanted(lane: str, test: str, lanes: Mapping[str, Mapping[str, Sequence[Result]]]) -> bool:
    return wants_more(lane, lanes[BASE].get(test, ()), lanes[HEAD].get(test, ()))
