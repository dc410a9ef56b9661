# SPDX-License-Identifier: GPL-2.0-only
"""What has to be built and tested, decided before anything is done. Pure.

A lane is a kernel: ``base`` is without the series, ``head`` with all of it. A cell is lane x variant x tests x attempt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.errors import UsageError
from harness.job import Job, SeriesKnowledge
from harness.model.judge import LaneResults, suspects, wants_more
from harness.model.result import Result
from harness.model.series import Patch, Series
from harness.model.tree import Source
from harness.model.variant import Variant

BASE, HEAD = "base", "head"


@dataclass(frozen=True)
class Lane:
    """A source and the patches on top of it, in order. ``layers`` holds base patches first, then the series."""

    name: str
    source: Source
    layers: tuple[Patch, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One run of (some of) the suite. ``tests`` None: all that ``select`` leaves."""

    lane: str
    variant: Variant
    attempt: int = 1
    tests: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Plan:
    """The lanes in the order in which they are built, the cells in the order in which they run, and why."""

    lanes: tuple[Lane, ...]
    cells: tuple[Cell, ...]
    notes: tuple[str, ...] = ()


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
) -> Plan:
    """Lanes and first cells of a job.

    ``merged``: the series is known to be in ``kernel``, and no base was named: the kernel runs as one lane.
    """
    layers = tuple(base_patches)
    patches = series.patches if series is not None and not merged else ()
    notes: tuple[str, ...] = ()
    lanes: tuple[Lane, ...]
    if base is not None:
        lanes = (Lane(BASE, base), Lane(HEAD, kernel, patches))
    elif patches:
        lanes = (Lane(BASE, kernel, layers), Lane(HEAD, kernel, (*layers, *patches)))
    elif layers:
        # The kernel carries the series; what takes it out is the base.
        lanes = (Lane(BASE, kernel, layers), Lane(HEAD, kernel))
    else:
        lanes = (Lane(HEAD, kernel),)
        notes = ("one lane, no control: the verdict rests on the known failures alone",)
    return Plan(lanes, tuple(Cell(lane.name, job.variant) for lane in lanes), notes)


def check_job(job: Job) -> None:
    """Refuse what cannot be meant."""
    if job.base and job.base_patch:
        raise UsageError("--base and --base-patch exclude each other", hint="--base-patch makes the base from --kernel")


def repetitions(base: LaneResults, head: LaneResults, variant: Variant, attempt: int, most: int) -> list[Cell]:
    """The cells of attempt ``attempt`` (2 to ``most``): each suspect on the lane that still has to answer it."""
    if attempt > most:
        return []
    doubtful = suspects(base, head)
    answers: Mapping[str, dict[str, list[Result]]] = {BASE: base.by_id(), HEAD: head.by_id()}
    cells = []
    for lane in (BASE, HEAD):
        tests = tuple(
            test
            for test in doubtful
            if wants_more(lane, answers[BASE].get(test, []), answers[HEAD].get(test, []))
            and len(answers[lane].get(test, [])) < attempt
        )
        if tests:
            cells.append(Cell(lane, variant, attempt, tests))
    return cells
