# SPDX-License-Identifier: GPL-2.0-only
"""Do scripts on one driver, each in a guest of its own, some side by side. What shows nothing new leaves nothing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date
from pathlib import Path

from harness.engines.module import Modules
from harness.host.data import data_folder
from harness.host.sandbox import Sandbox
from harness.host.scratch import discard
from harness.host.sources import resolve
from harness.host.store import Store
from harness.host.trees import make_tree
from harness.job import Job
from harness.knowledge import read_edits
from harness.lab import Lab
from harness.lane import Broken, LaneRun, Question
from harness.log import say, silence
from harness.model.found import Answer, answer
from harness.model.result import Outcome
from harness.model.script import Script, write
from harness.model.session import Start
from harness.plan import HEAD, Cell
from harness.pool import room
from harness.report import known_failures

TEST = "test_walk.py::test_walk"
TEST_SECONDS = 120.0
"""A walk takes 5 to 20 s; on a busy machine, where the NPU has an IOMMU of its own, more."""


class Walks:
    """The driver of a job, built, and guests that have it loaded. ``folder`` has a folder for each guest.

    Raises UsageError, BuildFailed or InfraError when there is no such driver.
    """

    def __init__(self, job: Job, folder: Path, store: Store) -> None:
        self.job = job
        self.folder = folder
        kernel = resolve(job.kernel, store)
        edits = tuple(read_edits(name) for name in job.edits)
        tree = make_tree(kernel, (), store, edits)
        self._module = Modules(store, Sandbox.detect(), data_folder("jobs") / "kconfig").build(tree, job.profile)
        self._guests = Lab.prepare(store).guests(self._module, job.variant, job.boot_seconds, store)
        self._known = [k for k in known_failures() if k.covers(kernel.version, job.variant.name, date.today())]
        self._numbers = itertools.count(1)
        self.where = ", ".join([f"Linux {kernel.version}", job.variant.name, *(f"with {e.name}" for e in edits)])
        self.side_by_side = room(job.workers, job.profile)
        self._pool = ThreadPoolExecutor(self.side_by_side, thread_name_prefix="guest")
        for name, value in (("kernel", self.where), ("built", self._module.how or self._module.kernel.release)):
            say(f"{name}: {value}")

    def close(self) -> None:
        """End every guest."""
        self._guests.end()
        self._pool.shutdown(cancel_futures=True)

    def start(self, script: Script) -> Future[Answer]:
        """Do a script as soon as there is room for a guest."""
        return self._pool.submit(self.ask, script)

    def all(self, scripts: Sequence[Script]) -> list[Answer]:
        """Do each of them."""
        return list(self._pool.map(self.ask, scripts))

    def ask(self, script: Script) -> Answer:
        """Do a script in a fresh guest, now."""
        folder = self.folder / str(next(self._numbers))
        question = Question("hunt", "", TEST_SECONDS, start=Start.DRIVER, script=write(script))
        with silence():
            lane = LaneRun(self._module, folder, question, self._guests)
            try:
                lane.run(Cell(HEAD, self.job.variant, group=TEST.partition("::")[0]))
            except Broken:
                pass  # which stage failed stands in its records
            finally:
                lane.close()
            results = lane.results().by_id()
        if TEST not in results:
            failed = [r for each in results.values() for r in each if r.outcome is not Outcome.PASS]
            return Answer(trouble=f"{failed[0].id}: {failed[0].evidence}" if failed else "no guest did it")
        console = "".join(str(event.get("console", "")) for event in lane.events if event.get("event") == "lost")
        found = answer(results[TEST][-1], self._known, folder, console)
        if not found.news and not found.trouble:
            discard(folder)
        return found
