# SPDX-License-Identifier: GPL-2.0-only
"""``xdna-harness repro RUN TEST``: one test of a run asked again: the same kernel, driver, NPU and start of the guest.

What is no longer in the cache is fetched and built again. What then comes out as another driver is said to be so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InfraError, UsageError
from harness.formats.events import load_events
from harness.host.store import Store
from harness.job import Job, read_toml
from harness.lane import Broken, LaneRun
from harness.log import warn
from harness.model.again import matching
from harness.model.kernel import Module
from harness.model.result import KERNEL_LOG, Outcome, Result
from harness.model.session import Session, Start
from harness.plan import HEAD, WITHOUT, Cell, Plan, without
from harness.report import LANE_RECORDS, RUN_RECORDS, derive
from harness.run import Run

FAILED = (Outcome.FAIL, Outcome.LOST)


@dataclass(frozen=True)
class Question:
    """One test on one lane of a run, and how its guest began. ``before``: what ran before it in that guest, in order.
    ``built``: release of the kernel and digest of the driver that were asked. ``known``: why it is known to fail."""

    run: Path
    job: Job
    lane: str
    test: str
    start: Start | None = None
    before: tuple[str, ...] = ()
    built: tuple[str, str] = ("", "")
    known: tuple[str, ...] = ()


def read(run: Path, part: str, lane: str = HEAD) -> Question:
    """The question that ``part`` of a test's id means. UsageError: no run, no such lane or test, or several tests."""
    report = derive(run)
    if lane not in report.lanes:
        raise UsageError(f"{run} has no lane {lane}", hint=f"its lanes are {', '.join(report.lanes)}")
    ids = list(dict.fromkeys(result.id for result in report.lanes[lane].results))
    found = matching(part, ids)
    if len(found) != 1:
        some = ", ".join(found[:6]) + (", ..." if len(found) > 6 else "")
        what = f"means {len(found)} tests: {some}" if found else f"is no test that {lane} was asked"
        raise UsageError(f"{part!r} {what}", hint="name one by a part of its id, as the report writes it")
    job = read_toml(run / "job.toml", Job)
    events = load_events(run / lane / job.variant.name / LANE_RECORDS)
    start, before = _guest(found[0], events)
    built = next(
        (
            (str(e["kernel"]), str(e.get("digest", "")))
            for e in reversed(load_events(run / RUN_RECORDS))
            if e.get("event") == "lane" and e.get("name") == lane and e.get("kernel")
        ),
        ("", ""),
    )
    return Question(run, job, lane, found[0], start, before, built, report.known.get(found[0], ()))


def _guest(test: str, events: Sequence[Mapping[str, Any]]) -> tuple[Start | None, tuple[str, ...]]:
    """From what the guest started in which the test did not pass (else the first that asked it), and the tests that
    ran in it before."""
    ends = [e for e in events if e.get("event") in ("test-end", "lost") and e.get("id") == test]
    bad = [e for e in ends if e["event"] == "lost" or e.get("outcome") not in ("pass", "skip")]
    if not ends:
        return None, ()
    boot = (bad or ends)[0].get("boot")
    started = next((e.get("start") for e in events if e.get("event") == "boot" and e.get("boot") == boot), None)
    ran = [str(e["id"]) for e in events if e.get("event") == "test-start" and e.get("boot") == boot]
    return Start(started) if started else None, tuple(ran[: ran.index(test)] if test in ran else ())


class Repro:
    """The question, asked as often as one likes, each time in a fresh guest. ``out`` receives records and consoles.
    ``visit``: what is done in a guest in which it failed. ``with_before``: what ran before it runs before it again."""

    def __init__(
        self,
        question: Question,
        out: Path,
        store: Store,
        visit: Callable[[Session], None] | None = None,
        with_before: bool = False,
    ) -> None:
        self.question = question
        self.run = Run(question.job, out, store)
        self.before = question.before if with_before else ()
        self._visit = visit
        self.same = True

    def answers(self, times: int, seconds: float = float("inf"), until_fail: bool = False) -> Iterator[Result]:
        """Each answer as it comes; no further guest after ``seconds``. PatchError, UsageError and InfraError: there is
        nothing to ask."""
        deadline = time.monotonic() + seconds
        lane = self._open()
        lane.visit = self._look if self._visit else None
        try:
            for attempt in range(1, times + 1):
                result = self._ask(lane, attempt)
                yield result
                if (until_fail and result.outcome in FAILED) or time.monotonic() > deadline:
                    return
        finally:
            self.run.close()

    def _open(self) -> LaneRun:
        """Build what has to be, and prove that it is what was asked then."""
        module = self._module()
        self._compare(module)
        self.run.prepare()
        return self.run.open_lane(self.question.lane, module)

    def _module(self) -> Module:
        question, builds = self.question, self.run.builds
        todo = self.run.plan()
        if question.lane.startswith(WITHOUT):
            head = todo.lane(HEAD)
            number = int(question.lane.removeprefix(WITHOUT))
            module, why = builds.without(without(head, number, len(head.layers) - head.patch))
        else:
            if question.lane not in {lane.name for lane in todo.lanes}:
                raise UsageError(
                    f"the job of {question.run} has no lane {question.lane} any more",
                    hint="has its series changed? name the lane head",
                )
            module = builds.modules(Plan((todo.lane(question.lane),), ())).get(question.lane)
            why = "a patch does not apply, or it does not build"
        if module is None:
            raise InfraError(f"{question.lane} is not to be had: {why}", log=self.run.out / question.lane)
        return module

    def _compare(self, module: Module) -> None:
        """Say so where another kernel or driver came out than was asked then."""
        release, digest = self.question.built
        if release and module.kernel.release != release:
            self.same = False
            warn(f"not the same kernel: {release} then, {module.kernel.release} now; source or compiler have changed")
        elif digest and module.digest != digest:
            self.same = False
            warn(f"not the same driver for {release}: source or compiler have changed")

    def _ask(self, lane: LaneRun, attempt: int) -> Result:
        test = self.question.test
        asked = test if "::" in test else KERNEL_LOG
        start = self.question.start if "::" in test else Start.COLD
        broken = False
        lane.try_anew()
        try:
            lane.run(Cell(self.question.lane, self.run.job.variant, attempt, (*self.before, asked), start=start))
        except Broken:
            broken = True
        if self.run.machine is not None:
            self.run.machine.look()
        results = lane.results().by_id()
        stages = [r for answers in results.values() for r in answers if r.is_stage and r.outcome is not Outcome.PASS]
        if broken and stages:
            said = stages[-1]
            return said if said.id == test or said.outcome is Outcome.ERROR else _unasked(test, attempt, said)
        if "::" not in test and test != KERNEL_LOG:
            return next(iter(results.get(test, ())), Result(test, Outcome.PASS, attempt=attempt))
        found = [r for r in results.get(test, ()) if r.attempt == attempt]
        return found[-1] if found else Result(test, Outcome.ERROR, "it was not asked", attempt)

    def _look(self, session: Session, events: Sequence[Mapping[str, Any]]) -> None:
        ends = [e for e in events if e.get("event") == "test-end" and e.get("id") == self.question.test]
        if self._visit and ends and ends[-1].get("outcome") not in ("pass", "skip"):
            self._visit(session)


def _unasked(test: str, attempt: int, stage: Result) -> Result:
    """The kernel did not get as far as the test."""
    return Result(test, Outcome.ERROR, f"not asked: {stage.id} {stage.outcome}\n{stage.evidence}", attempt)


def status(answers: Sequence[Result]) -> int:
    """The exit status: 1 it failed, 3 it could not be asked, 0 neither."""
    outcomes = {result.outcome for result in answers}
    return 1 if outcomes & set(FAILED) else 3 if Outcome.ERROR in outcomes or not answers else 0
