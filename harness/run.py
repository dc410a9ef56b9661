# SPDX-License-Identifier: GPL-2.0-only
"""Execute a job: the only file that knows the order of the stages.

    fetch -> sources -> plan -> trees (stage/apply) -> kernels (stage/build) -> cells (boot, probe, suite) -> repeat

What happened is appended to the run's records; the report is derived from these at the end, whatever the end was.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.engines.kbuild import BuildFailed, Kbuild
from harness.errors import InfraError, PatchError, UsageError
from harness.host.data import data_folder
from harness.host.fetch import fetch
from harness.host.recorder import Recorder
from harness.host.sandbox import Sandbox
from harness.host.sources import resolve
from harness.host.store import Store
from harness.host.trees import make_tree
from harness.job import Job, SeriesKnowledge, read_toml, write_job
from harness.lab import Lab
from harness.lane import Broken, LaneRun, Question
from harness.log import say, step, warn
from harness.model.kernel import Kernel
from harness.model.report import Report
from harness.model.series import Series
from harness.model.tree import Tree
from harness.plan import BASE, HEAD, Lane, Plan, check_job, is_merged, plan, repetitions
from harness.report import RUN_RECORDS, derive, known_failures, visible


class Run:
    """One job, one run folder."""

    def __init__(self, job: Job, out: Path, store: Store) -> None:
        check_job(job)
        self.job = job
        self.out = out
        self.store = store
        self._claim()
        self.records = Recorder(out / RUN_RECORDS)
        self.sandbox = Sandbox.detect()
        self.lanes: dict[str, LaneRun] = {}

    def _claim(self) -> None:
        """A run folder belongs to one job: the same job goes on where it stopped, another one is refused."""
        text = write_job(self.job)
        path = self.out / "job.toml"
        if path.exists():
            if path.read_text() != text:
                raise UsageError(f"{self.out} holds another run", hint="name another --out, or delete that folder")
            say(f"going on with the run in {self.out}")
            return
        if self.out.exists() and any(self.out.iterdir()):
            raise UsageError(f"{self.out} is not empty and holds no run", hint="name another --out")
        self.out.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def fact(self, name: str, text: str) -> None:
        self.records.add({"event": "fact", "name": name, "text": text})

    def note(self, text: str) -> None:
        say(f"note: {text}")
        self.records.add({"event": "note", "text": text})

    def execute(self) -> Report:
        """Do everything; the report also of a run in which a stage failed. Raises UsageError and InfraError when
        there is nothing to report on."""
        started = time.monotonic()
        confined = f"make runs in {self.sandbox.kind}" if self.sandbox.isolated else self.sandbox.reason
        self.fact("sandbox", confined)
        if not self.sandbox.isolated:
            warn(confined)
        todo = self._plan()
        kernels = self._kernels(todo)
        if kernels is not None:
            self._cells(todo, kernels)
        self.fact("seconds", f"{time.monotonic() - started:.0f}")
        return derive(self.out)

    def _plan(self) -> Plan:
        """Fetch, unpack, decide."""
        job = self.job
        base_patches = fetch(job.base_patch).patches if job.base_patch else ()
        known = series_knowledge(job.series)
        series = self._series(known)
        kernel = resolve(job.kernel, self.store)
        base = resolve(job.base, self.store) if job.base else None
        self.fact("kernel", f"{job.kernel}: {kernel.origin}")
        if base is not None:
            self.fact("base", f"{job.base}: {base.origin}")
        known = known or _knowledge_of(series)
        merged = is_merged(known, kernel.version) and not base_patches and base is None
        if merged and known is not None:
            self.note(
                f"{known.title!r} was merged for Linux {known.merged_in}: "
                f"{kernel.version} carries it, so it runs as it is"
            )
        elif series is None and job.series:
            raise InfraError(
                f"the series {job.series} could not be fetched",
                hint="try again, or give it as an mbox",
                transient=True,
            )
        todo = plan(job, kernel, base, series, base_patches, merged)
        for note in todo.notes:
            self.note(note)
        return todo

    def _series(self, known: SeriesKnowledge | None) -> Series | None:
        """The series, and what is known about it. One that the kernel may carry already need not be reachable."""
        if not self.job.series:
            return None
        try:
            with step(f"fetch {self.job.series}"):
                series = fetch(self.job.series)
        except InfraError as error:
            if known is None:
                raise
            self.note(f"not fetched: {error.message}")
            self.records.add({"event": "series", "title": known.title, "trailers": []})
            return None
        self.records.add({"event": "series", "title": series.title, "trailers": list(series.trailers)})
        revision = f"v{series.revision}, " if series.revision else ""
        self.fact("series", f"{revision}{len(series.patches)} patch(es): {series.title}")
        if series.attestation:
            self.fact("attestation", series.attestation)
        if series.newer_revision:
            self.note(f"a newer revision is on the list: v{series.newer_revision}")
        for note in series.notes:
            self.note(note)
        return series

    def _lane(self, name: str, folder: Path, kernel: Kernel, lab: Lab) -> LaneRun:
        question = Question(self.job.suite, self.job.select, self.job.test_seconds)
        opener = lab.opener(kernel, self.job.variant, self.job.boot_seconds)
        return LaneRun(kernel, folder, question, opener)

    def _folder(self, lane: str) -> Path:
        return self.out / lane / self.job.variant.name

    def _kernels(self, todo: Plan) -> dict[str, Kernel] | None:
        """Apply and build every lane, base first; None when a stage failed, which is in the records."""
        trees: dict[str, Tree] = {}
        for lane in todo.lanes:
            tree = self._apply(lane)
            if tree is None:
                return None
            trees[lane.name] = tree
        kernels = {}
        for lane in todo.lanes:
            kernel = self._build(lane, trees[lane.name])
            if kernel is None:
                return None
            kernels[lane.name] = kernel
        return kernels

    def _announce(self, lane: Lane, kernel: Kernel | None = None) -> None:
        release = kernel.release if kernel else ""
        self.records.add({"event": "lane", "name": lane.name, "version": lane.source.version, "kernel": release})

    @contextmanager
    def _stage(self, lane: Lane, name: str) -> Iterator[Recorder]:
        records = Recorder(self._folder(lane.name) / "results.jsonl")
        try:
            yield records
        finally:
            records.close()

    def _apply(self, lane: Lane) -> Tree | None:
        self._announce(lane)
        with self._stage(lane, "apply") as records:
            try:
                tree = make_tree(lane.source, lane.layers, self.store)
            except PatchError as error:
                records.add(_stage_event("apply", "FAIL", "\n".join(error.lines())))
                say("\n".join(error.lines()), style="red")
                return None
            records.add(_stage_event("apply", "PASS", f"{len(lane.layers)} patch(es) on {lane.source.origin}"))
        return tree

    def _build(self, lane: Lane, tree: Tree) -> Kernel | None:
        engine = Kbuild(self.store, self.sandbox, data_folder("jobs") / "kconfig")
        with self._stage(lane, "build") as records:
            try:
                kernel = engine.build(tree, self.job.profile)
            except BuildFailed as error:
                (self.out / lane.name).mkdir(exist_ok=True)
                if error.log and error.log.exists():
                    (self.out / lane.name / "build.log").write_bytes(error.log.read_bytes())
                records.add(_stage_event("build", "FAIL", "\n".join(error.lines())))
                say("\n".join(error.lines()), style="red")
                return None
            except InfraError as error:
                records.add(_stage_event("build", "ERROR", "\n".join(error.lines())))
                say("\n".join(error.lines()), style="red")
                return None
            records.add(_stage_event("build", "PASS", kernel.release))
        (self.out / lane.name / "build.log").write_bytes(kernel.log.read_bytes())
        self._announce(lane, kernel)
        return kernel

    def _cells(self, todo: Plan, kernels: Mapping[str, Kernel]) -> None:
        lab = Lab.prepare(self.store)
        self.fact("qemu", f"{lab.qemu.version}, {lab.qemu.origin}")
        self.fact("accelerator", lab.accelerator.reason)
        self.lanes = {n: self._lane(n, self._folder(n), kernel, lab) for n, kernel in kernels.items()}
        try:
            for cell in todo.cells:
                self.lanes[cell.lane].run(cell)
            if BASE in self.lanes:
                self._repeat(todo)
        except Broken:
            return  # the reason is in the lane's records, and becomes the verdict
        finally:
            for lane in self.lanes.values():
                lane.close()

    def _repeat(self, todo: Plan) -> None:
        """Ask again what looks worse, until the judge has enough answers."""
        versions = {lane.name: lane.source.version for lane in todo.lanes}
        known = known_failures()
        for attempt in range(2, self.job.attempts + 1):
            answers = {n: visible(lane.results(), known, versions[n])[0] for n, lane in self.lanes.items()}
            cells = repetitions(answers[BASE], answers[HEAD], self.job.variant, attempt, self.job.attempts)
            if not cells:
                break
            names = sorted({test for cell in cells for test in cell.tests or ()})
            say(f"{len(names)} test(s) look worse: asking again in fresh guests, attempt {attempt}")
            for cell in cells:
                self.lanes[cell.lane].run(cell)


def _stage_event(name: str, outcome: str, evidence: str) -> dict[str, Any]:
    return {"event": "stage", "id": f"stage/{name}", "outcome": outcome, "evidence": evidence}


def all_knowledge() -> list[SeriesKnowledge]:
    """What the project knows about series: patches/*/series.toml."""
    return [read_toml(path, SeriesKnowledge) for path in sorted(data_folder("patches").glob("*/series.toml"))]


def series_knowledge(spec: str) -> SeriesKnowledge | None:
    """What is known about the series that ``spec`` names by message-id (or a URL that ends in it)."""
    return next((k for k in all_knowledge() if any(m in spec for m in k.message_ids)), None)


def _knowledge_of(series: Series | None) -> SeriesKnowledge | None:
    return series_knowledge(series.message_id) if series and series.message_id else None
