# SPDX-License-Identifier: GPL-2.0-only
"""What a run asks again: what looks worse, or fails where there is no base; and what a patch that is blamed has broken,
in the series without that patch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.log import say
from harness.model.blame import questions
from harness.model.finding import Kind
from harness.model.judge import LaneResults
from harness.model.result import KERNEL_LOG, Outcome
from harness.plan import (
    BASE,
    HEAD,
    PREFIX,
    Cell,
    Plan,
    confirmations,
    doubts,
    looked_at,
    repetitions,
    spread,
    without,
)
from harness.pool import room
from harness.report import derive, lane_results

if TYPE_CHECKING:
    from harness.run import Run


def repeat(run: Run) -> None:
    """Ask again what looks worse, or without a base fails, until the judge has enough answers."""
    variant = run.job.variant
    for left in (_taken_over, _cut_off, _unlooked):
        run.ask(left(run))
    for attempt in range(2, 2 * run.job.attempts if run.job.per_patch else run.job.attempts + 1):
        seen, series = lane_results(run.out, run.job)
        if BASE not in seen:
            cells = doubts(seen[HEAD], variant, attempt, run.job.attempts)
        elif series:
            names = {HEAD if p is series[-1] else f"{PREFIX}{p.number}": p for p in series}
            asked = questions(seen[BASE], names, attempt)
            cells = [Cell(lane, variant, attempt, tests) for lane, tests in asked.items() if lane in run.lanes]
            cells += confirmations(seen[BASE], seen[HEAD], variant, attempt, run.job.attempts)
        else:
            cells = repetitions(seen[BASE], seen[HEAD], variant, attempt, run.job.attempts)
        if not cells:
            break
        tests = {test for cell in cells for test in cell.tests or ()}
        what = "have changed" if BASE in seen else "failed"
        say(f"{len(tests)} test(s) {what}: asking again in fresh guests, attempt {attempt}")
        run.ask(_spread(run, cells, seen))


def _taken_over(run: Run) -> list[Cell]:
    """The first cells of a twin that took over what the lab had spoiled: nobody else asks them."""
    lanes = {name for name, lane in run.lanes.items() if lane.reused and lane.results().broken}
    return [cell for cell in run.todo.cells if cell.lane in lanes] if run.todo is not None else []


def _cut_off(run: Run) -> list[Cell]:
    """What was being asked again when an earlier process was stopped, or the lab stumbled: an ERROR is an answer for
    the judge, so nothing else asks it any more."""
    seen, _ = lane_results(run.out, run.job)
    asked: dict[tuple[str, int], list[str]] = {}
    for name in run.lanes.keys() & seen.keys():
        for result in seen[name].results:
            askable = "::" in result.id or result.id == KERNEL_LOG
            if askable and result.outcome is Outcome.ERROR and result.attempt > 1:
                asked.setdefault((name, result.attempt), []).append(result.id)
    return [
        Cell(name, run.job.variant, attempt, tuple(tests), look=False)
        for (name, attempt), tests in sorted(asked.items())
    ]


def _unlooked(run: Run) -> list[Cell]:
    """The repetitions in which kmemleak did not get to look at tests that lose memory. The kernel's log, which every
    guest answers, is such a test only where a look was cut off."""
    if not run.job.kmemleak:
        return []
    seen, _ = lane_results(run.out, run.job)
    leaky, found = _leaky(seen), []
    for name in sorted(run.lanes.keys() & seen.keys()):
        asked: dict[int, list[str]] = {}
        cut = {result.attempt for result in seen[name].results if result.id == "kmemleak/suite"}
        for result in seen[name].results:
            wanted = result.id != KERNEL_LOG or result.attempt in cut
            if wanted and result.id in leaky and result.attempt > 1:
                asked.setdefault(result.attempt, []).append(result.id)
        cells = [Cell(name, run.job.variant, attempt, tuple(tests)) for attempt, tests in sorted(asked.items())]
        found += [cell for cell in cells if not run.lanes[name].answered([cell])]
    return found


def _leaky(seen: Mapping[str, LaneResults]) -> set[str]:
    answers = [result for lane in seen.values() for result in lane.results]
    return {r.id for r in answers if any(f.kind is Kind.KMEMLEAK for f in r.findings)}


def _spread(run: Run, cells: Sequence[Cell], seen: Mapping[str, LaneResults]) -> Sequence[Cell]:
    """Where another guest costs little, none stands idle. kmemleak looks where it found something."""
    if run.job.kmemleak:
        return looked_at(cells, _leaky(seen))
    return spread(cells, room(run.job.workers, run.job.profile)) if run.job.start == "restored" else cells


def take_out(run: Run, todo: Plan) -> None:
    """For each patch that broke what is still broken: are its tests well without it?"""
    if not run.job.per_patch:
        return
    blamed: dict[int, list[str]] = {}
    for culprit in derive(run.out, over=True).culprits:
        if culprit.still and len(culprit.introduced) == 1 and culprit.total > 1:
            blamed.setdefault(culprit.introduced[0], []).append(culprit.test)
    head = todo.lane(HEAD)
    for number, tests in blamed.items():
        lane = without(head, number, len(head.layers) - head.patch)
        module, why = run.builds.without(lane)
        if module is None:
            run.records.add({"event": "not-taken-out", "patch": number, "text": why})
            continue
        run.builds.announce(lane, module)
        run.open_lane(lane.name, module)
        _ask_without(run, lane.name, [test for test in tests if "::" in test])


def _ask_without(run: Run, lane: str, tests: Sequence[str]) -> None:
    """As often as the head was asked until it was confirmed: a bug that shows now and then may stay away once."""
    answered = run.lanes[HEAD].results().by_id()
    for attempt in range(1, run.job.attempts + 1):
        left = tuple(test for test in tests if len(answered.get(test, ())) >= attempt)
        if left:
            run.ask([Cell(lane, run.job.variant, attempt, left)])
