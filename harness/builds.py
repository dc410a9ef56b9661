# SPDX-License-Identifier: GPL-2.0-only
"""Lanes -> trees -> drivers, with what happened in the records: stage/apply and stage/build of each lane."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from harness.engines.make import BuildFailed
from harness.engines.module import Modules
from harness.errors import InfraError, PatchError, UsageError
from harness.host import buildfolder
from harness.host.recorder import Recorder, RunRecords
from harness.host.store import Store
from harness.host.trees import complete, make_tree
from harness.job import Job
from harness.log import say, step
from harness.model.kernel import Kernel, Module
from harness.model.tree import Tree
from harness.plan import HEAD, Lane, Plan


class Builds:
    """The trees and drivers of one run, in its folder ``out``. ``records`` are the run's own; ``making`` is told
    a lane, and the kernel that its driver is made for."""

    def __init__(
        self,
        job: Job,
        out: Path,
        store: Store,
        engine: Modules,
        records: RunRecords,
        making: Callable[[str, Kernel], None],
    ) -> None:
        self.job = job
        self.out = out
        self.store = store
        self.engine = engine
        self.records = records
        self.making = making
        self.trees: dict[str, Tree] = {}

    def folder(self, lane: str) -> Path:
        """Where the records and guests of a lane are."""
        return self.out / lane / self.job.variant.name

    def modules(self, todo: Plan) -> dict[str, Module]:
        """Apply and build every lane, base first. A lane whose stage failed is missing; the reason is in its
        records."""
        self.trees = {lane.name: tree for lane in todo.lanes if (tree := self._apply(lane)) is not None}
        built = {}
        for lane in todo.lanes:
            module = self._build(lane, self.trees[lane.name]) if lane.name in self.trees else None
            if module is not None:
                built[lane.name] = module
        return built

    def announce(self, lane: Lane, module: Module | None = None, seconds: float = 0.0) -> None:
        """Record a lane: what it is, and what was built for it."""
        built: dict[str, Any] = {"kernel": ""}
        if module is not None:
            built = {"kernel": module.kernel.release, "module": module.key, "digest": module.digest, "how": module.how}
            built |= {"warnings": list(module.warnings), "seconds": round(seconds, 1)}
        title = lane.layers[-1].subject if lane.patch else ""
        about = {"name": lane.name, "version": lane.source.version, "patch": lane.patch, "title": title}
        self.records.add({"event": "lane", **about, **built})

    @contextmanager
    def _stage(self, lane: Lane, name: str) -> Iterator[Recorder]:
        records = Recorder(self.folder(lane.name) / "results.jsonl")
        try:
            yield records
        finally:
            records.close()

    def _apply(self, lane: Lane) -> Tree | None:
        self.announce(lane)
        with self._stage(lane, "apply") as records:
            try:
                tree = make_tree(lane.source, lane.layers, self.store, lane.edits)
            except PatchError as error:
                records.add(_stage_event("apply", "FAIL", "\n".join(error.lines())))
                say("\n".join(error.lines()), style="red")
                return None
            records.add(_stage_event("apply", "PASS", f"{len(lane.layers)} patch(es) on {lane.source.origin}"))
        return tree if self.engine.sandbox.isolated else complete(tree, self.store)

    def _build(self, lane: Lane, tree: Tree) -> Module | None:
        started = time.monotonic()
        with self._stage(lane, "build") as records:
            try:
                counts = self.job.coverage and lane.name == HEAD
                making = partial(self.making, lane.name)
                module = self.engine.build(tree, self.job.profile, coverage=counts, making=making)
            except BuildFailed as error:
                (self.out / lane.name).mkdir(exist_ok=True)
                if error.log and error.log.exists():
                    buildfolder.copy_log(error.log, self.out / lane.name / "build.log")
                records.add(_stage_event("build", "FAIL", "\n".join(error.lines())))
                say("\n".join(error.lines()), style="red")
                return None
            except InfraError as error:
                records.add(_stage_event("build", "ERROR", "\n".join(error.lines())))
                say("\n".join(error.lines()), style="red")
                return None
            records.add(_stage_event("build", "PASS", module.how or module.kernel.release))
        buildfolder.copy_log(module.log, self.out / lane.name / "build.log")
        self.announce(lane, module, time.monotonic() - started)
        if module.how:
            self.records.fact(f"{lane.name} built", module.how)
        return module

    def without(self, lane: Lane) -> tuple[Module | None, str]:
        """The driver of a series with a hole in it, or why there is none: which is nobody's fault."""
        with step(f"{lane.name}: the series without that patch"):
            try:
                tree = make_tree(lane.source, lane.layers, self.store, lane.edits)
            except (PatchError, UsageError):
                return None, "does not come out cleanly"
            try:
                return self.engine.build(tree, self.job.profile), ""
            except BuildFailed:
                return None, "does not come out: the rest does not build"


def _stage_event(name: str, outcome: str, evidence: str) -> dict[str, Any]:
    return {"event": "stage", "id": f"stage/{name}", "outcome": outcome, "evidence": evidence}
