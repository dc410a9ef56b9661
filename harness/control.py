# SPDX-License-Identifier: GPL-2.0-only
"""The driver without any bug: what every planted bug is compared with, and which lines of it each test runs.

OUT/base-<key>       its lane: what an earlier run answered, and more as trials need it
OUT/counting-<key>   the lane of a driver that counts its lines, once for a kernel, a driver and a suite
footprints/<key>     what that one has counted, by test
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

from harness import answers
from harness.checks import coverage
from harness.engines.module import Modules
from harness.errors import InfraError
from harness.formats import footprints
from harness.host.store import Store
from harness.host.trees import make_tree
from harness.job import Job
from harness.knowledge import groups
from harness.lab import Lab
from harness.lane import LaneRun, Question
from harness.log import say, step
from harness.model.footprint import Footprints
from harness.model.judge import LaneResults
from harness.model.kernel import Module
from harness.model.result import Outcome
from harness.model.session import Start
from harness.model.tree import Source
from harness.plan import Cell, first_cells
from harness.pool import run_cells
from harness.report import known_failures, visible

RECIPE = 1
"""Of footprints: count up when they are made in another way."""


class Control:
    """One job's driver, built and asked. ``out`` is the folder of everything that runs."""

    def __init__(self, job: Job, source: Source, out: Path, store: Store, engine: Modules) -> None:
        self.job, self.source, self.out, self.store, self.engine = job, source, out, store, engine
        if not engine.sandbox.isolated:
            raise InfraError(
                f"a kernel would be built for each bug: {engine.sandbox.reason}", hint="'xdna-harness doctor' says more"
            )
        self.lab = Lab.prepare(store)
        self.module = engine.build(make_tree(source, (), store), job.profile)
        self.key = self._key(self.module)
        self.lane = self.open(self.module, f"base-{self.key}", Start.DRIVER)
        today = date.today()
        self._known = [k for k in known_failures() if k.covers(source.version, job.variant.name, today)]

    def _key(self, module: Module) -> str:
        return answers.key(self.job, module, self.lab.machine(module.kernel, self.job.variant))

    def open(self, module: Module, name: str, start: Start, *, halting: bool = False, counts: bool = False) -> LaneRun:
        """A lane in the folder ``name``."""
        job = self.job
        question = Question(job.suite, job.select, job.test_seconds, job.quick, start, halting=halting, counts=counts)
        guests = self.lab.guests(module, job.variant, job.boot_seconds, self.store)
        return LaneRun(module, self.out / name / job.variant.name, question, guests)

    def run(
        self, cells: Sequence[Cell], head: LaneRun | None = None, enough: Callable[[], bool] = lambda: False
    ) -> set[str]:
        """Run cells of the control ("base") and of another lane ("head") side by side: the lanes that broke."""
        lanes = {"base": self.lane, **({"head": head} if head else {})}

        def stop() -> None:
            for lane in lanes.values():
                lane.stop()

        seconds = answers.timings(self.store, self.job.profile)
        return run_cells(
            cells, lambda cell: lanes[cell.lane].run(cell, enough), stop, self.job.workers, self.job.profile, seconds
        )

    def ask(self) -> None:
        """All first answers. InfraError: there are none to compare with."""
        if not self.lane.events and not self.job.fresh and (found := answers.find(self.store, self.key)):
            say(f"nothing that can change the answers without a bug has changed since {found[1]}")
            self.lane.reuse(*found)
        if self.lane.reused:
            return
        broken = self.run(first_cells(self.job, "base", groups(self.job.quick)))
        answers.remember(self.store, self.job.profile, self.lane.events)
        self.keep()
        if broken or not any(r.outcome is Outcome.PASS and not r.is_stage for r in self.results().results):
            raise InfraError(
                "the driver without any bug does not pass a single test",
                hint=f"'xdna-harness run --kernel {self.job.kernel}' says why",
                log=self.lane.records.path,
            )

    def results(self) -> LaneResults:
        """What it has answered so far, known failures taken out."""
        return self.visible(self.lane.results())

    def visible(self, results: LaneResults) -> LaneResults:
        """Results of this kernel without what is known to fail."""
        return visible(results, self._known)[0]

    def seconds(self) -> dict[str, float]:
        """How long each test takes."""
        return {r.id: r.seconds for r in self.lane.results().results if r.attempt == 1}

    def keep(self) -> None:
        """Keep the answers for later."""
        answers.keep(self.store, self.key, self.lane.events, self.out, self.job.fresh)

    def footprints(self) -> Footprints:
        """Which lines each test runs; empty, with a word why, where nobody can count."""
        module = self.engine.build(make_tree(self.source, (), self.store), self.job.profile, coverage=True)
        if module.counters is None:
            say("the driver cannot count its lines: no test is likelier than another")
            return Footprints()
        key = self.store_key(module)
        entry = self.store.get("footprints", key, lambda folder: self._count(module, key, folder))
        return footprints.load((entry / "footprints.json").read_text())

    def store_key(self, module: Module) -> str:
        return f"{self._key(module)}-{RECIPE}"

    def _count(self, module: Module, key: str, folder: Path) -> None:
        assert module.counters is not None
        lane = self.open(module, f"counting-{key}", Start.DRIVER, counts=True)
        try:
            with step("which lines each test runs"):
                self.run(first_cells(self.job, "head", groups(self.job.quick)), lane)
                counted = coverage.by_test(module.counters, lane.events)
            (folder / "footprints.json").write_text(footprints.dump(footprints.gathered(counted)))
        finally:
            lane.close()
