# SPDX-License-Identifier: GPL-2.0-only
"""Execute a job: the only file that knows the order of the stages.

    intake (series, sources, plan) -> trees (stage/apply) -> modules (stage/build) -> cells (boot, probe, suite)
    -> repeat -> for each culprit, the series without it

What happened is appended to the run's records; the report is derived from these at the end, whatever the end was.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from harness import answers, evidence, score
from harness.builds import Builds
from harness.engines.module import Modules
from harness.errors import HarnessError
from harness.holding import held, lent
from harness.host.data import data_folder
from harness.host.leases import Lease
from harness.host.payload import Payload
from harness.host.pci import full_address
from harness.host.recorder import RunRecords, cut_back, sizes
from harness.host.sandbox import Sandbox
from harness.host.store import Store, key_of
from harness.intake import take_in
from harness.job import Job, claim
from harness.lab import Lab
from harness.lane import AnotherDriver, LaneRun, Question
from harness.log import say, warn
from harness.machines import borrow, fragments
from harness.model.kernel import Kernel, Module
from harness.model.report import Report
from harness.model.series import Series
from harness.model.session import Start
from harness.plan import BASE, HEAD, Cell, Plan, check_job
from harness.pool import run_cells
from harness.repeat import repeat, take_out
from harness.report import RUN_RECORDS, derive, lane_results
from harness.standby import Standby
from harness.starts import BOOT_DRIVER, Opener
from harness.targets.passthrough import refuse
from harness.targets.ssh.guests import SshGuests, SshLab


class Run:
    """One job, one run folder."""

    def __init__(self, job: Job, out: Path, store: Store) -> None:
        check_job(job)
        self.job = job
        self.out = out
        self.store = store
        if claim(job, out, "run"):
            say(f"going on with the run in {out}")
        self.records = RunRecords(out / RUN_RECORDS)
        self.sandbox = Sandbox.detect()
        engine = Modules(store, self.sandbox, data_folder("jobs") / "kconfig", fragments(job))
        self.builds = Builds(job, out, store, engine, self.records, self._stand_by)
        self.standby: Standby | None = None
        self.machine: SshLab | None = None
        self.lanes: dict[str, LaneRun] = {}
        self.keys: dict[str, str] = {}
        self.series: Series | None = None
        self.todo: Plan | None = None
        self.lease: Lease | None = None
        self._held = ExitStack()

    def execute(self) -> Report:
        """Do everything; the report also of a run in which a stage failed. Raises UsageError and InfraError when
        there is nothing to report on."""
        before = sizes(self.out)
        try:
            return self._execute()
        except AnotherDriver:
            cut_back(self.out, before)  # what is there already is not ours to tell anew
            raise

    def _execute(self) -> Report:
        started = time.monotonic()
        confined = f"make runs in {self.sandbox.kind}" if self.sandbox.isolated else self.sandbox.reason
        self.records.fact("begun", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
        self.records.fact("sandbox", confined)
        if not self.sandbox.isolated:
            warn(confined)
        if self.job.lent:
            refuse(full_address(self.job.lent), self.job.variant)
        todo = self.plan()
        with self._held:
            modules = self.builds.modules(todo)
            if {BASE, HEAD} & {lane.name for lane in todo.lanes} <= modules.keys():
                self._cells(todo, modules)
        score.tell(self.store, self.records)
        self.records.fact("seconds", f"{time.monotonic() - started:.0f}")
        return derive(self.out)

    def plan(self) -> Plan:
        """Fetch, unpack, decide. Raises UsageError and InfraError."""
        self.series, self.todo = take_in(self.job, self.store, self.records)
        return self.todo

    def _stand_by(self, lane: str, kernel: Kernel) -> None:
        """Let a guest come up while the first driver that is not there is made: the lane will want one. What is wrong
        with the lab shows when it is needed."""
        if self.standby is not None or self.job.real or self.job.start != "restored":
            return
        folder = self.builds.folder(lane) / BOOT_DRIVER
        with suppress(HarnessError):
            self.standby = Lab.prepare(self.store).standby(kernel, self.job.variant, folder, self.store)
        if self.standby is not None:
            self._held.callback(self.standby.close)

    def _cells(self, todo: Plan, modules: Mapping[str, Module]) -> None:
        """Ask every lane that was built, then again what looks worse."""
        self.prepare()
        try:
            whole = self._ask({name: modules[name] for name in modules}, todo)
            if whole:
                repeat(self)
                take_out(self, todo)
            self._keep()
            self._illustrate(modules)
        finally:
            self.close()

    def prepare(self) -> None:
        """Find out on what the guests run; a machine is ours from here to :meth:`close`."""
        if self.job.machine:
            self.lease = self._held.enter_context(held(self.job, str(self.out), self._machine_lost))
            self.records.fact("target", f"{self.job.machine}, reached by ssh")
            self.machine = borrow(self.job, self.out, self.lease, self.records.note)
            return
        if self.job.lent:
            self.lease = self._held.enter_context(lent(self.job, str(self.out), self._machine_lost))
            self.records.fact("target", f"this host's {full_address(self.job.lent)}, by vfio-pci")
        self.lab = Lab.prepare(self.store)
        self.records.fact("qemu", f"{self.lab.qemu.version}, {self.lab.qemu.origin}")
        self.records.fact("accelerator", self.lab.accelerator.reason)

    def _ask(self, modules: Mapping[str, Module], todo: Plan) -> bool:
        """The first answers of each lane. A driver that was asked before, in this run or an earlier one, is not asked
        again. False when a lane that everything is compared with is broken."""
        keys = self.keys
        for name, module in modules.items():
            self.open_lane(name, module)
            keys[name] = self._key(module)
        same = {} if self.job.twins else _first_of(keys)
        twins = {name: first for name, first in same.items() if first != name}
        old = {name for name in modules if name not in twins and self._reuse(name, keys[name])}
        cells = [
            cell for cell in todo.cells if cell.lane in modules and cell.lane not in old and cell.lane not in twins
        ]
        broken = self.ask(cells)
        for name in modules.keys() - twins.keys() - old:
            answers.remember(self.store, self.job.profile, self.lanes[name].events)
        self._keep()
        for name, first in twins.items():
            if first in broken and self.lanes[first].results().broken:  # by us: what is there is not all
                if not self.lanes[name].reused:
                    self.lanes[name].cut_short()
                continue
            why = f"bit for bit the driver of {first}"
            self.records.note(f"{name}: {why}: not run")
            self.lanes[name].reuse(answers.kept(self.lanes[first].events, 1), why)
        return not broken & {BASE, HEAD}

    def _illustrate(self, modules: Mapping[str, Module]) -> None:
        """The series' diff, coverage, and file and line of splats. What is known to fail is worth these on the head
        lane only."""
        evidence.keep_difference(self.builds)
        if self.job.coverage and HEAD in modules:
            evidence.sum_coverage(self.builds, modules[HEAD], self.lanes[HEAD].events, self.records.note)
        seen, _ = lane_results(self.out, self.job)
        for name, module in modules.items():
            lane = self.lanes[name].results() if name == HEAD else seen[name]
            splats = [finding.text for result in lane.results for finding in result.findings]
            evidence.locate(self.builds, self.sandbox, name, module, splats)

    def _keep(self) -> None:
        """Keep for later runs what the lanes have answered so far."""
        if self.job.real:
            return
        for name, key in self.keys.items():
            if self.lanes[name].module.counters is not None:
                continue  # a driver that counts is always asked anew
            if self.todo is None or not self.lanes[name].answered([c for c in self.todo.cells if c.lane == name]):
                continue
            answers.keep(self.store, key, self.lanes[name].events, self.out, self.job.fresh)

    def open_lane(self, name: str, module: Module) -> LaneRun:
        """Where a lane's questions are asked; it is closed by who asks. AnotherDriver: an earlier run of this folder
        asked that."""
        job = self.job
        start = Start.DRIVER if job.start == "restored" else Start.COLD
        question = Question(job.suite, job.select, job.test_seconds, job.quick, start, job.kmemleak)
        question = replace(question, counts=module.counters is not None, traced=job.traced)
        guests: Opener
        if self.machine is not None:
            payload = Payload(module, data_folder("harness"), data_folder("tests/target"), job.variant)
            guests = SshGuests(self.machine, payload)
        elif job.lent:
            assert self.lease is not None
            guests = self.lab.lending(module, job, str(self.out), self.lease.check, self.records.note)
        else:
            guests = self.lab.guests(module, job.variant, job.boot_seconds, self.store, self.standby)
        lane = self.lanes[name] = LaneRun(module, self.builds.folder(name), question, guests, self.records.note)
        lane.claim()
        if isinstance(guests, SshGuests):
            guests.late = lane.late
        return lane

    def _key(self, module: Module) -> str:
        """What the answers depend on. Of a real NPU nobody knows all of that, so its answers are not kept for another
        run."""
        if self.job.real:
            return key_of(run=str(self.out.resolve()), kernel=module.kernel.key, module=module.digest)
        return answers.key(self.job, module, self.lab.machine(module.kernel, self.job.variant))

    def _reuse(self, name: str, key: str) -> bool:
        """Take over what an earlier run answered, unless this run has begun to ask by itself or is told to."""
        lane = self.lanes[name]
        if self.job.fresh or lane.module.counters or lane.reused or any(e.get("event") == "boot" for e in lane.events):
            return lane.reused
        found = answers.find(self.store, key)
        if found is None:
            return False
        events, run = found
        self.records.note(f"{name}: nothing that can change its answers has changed since {run}: not run again")
        lane.reuse(events, run)
        return True

    def ask(self, cells: Sequence[Cell]) -> set[str]:
        """Run cells side by side: the lanes that broke."""
        if not cells:
            return set()
        seconds = answers.timings(self.store, self.job.profile)
        broken = run_cells(
            cells, lambda cell: self.lanes[cell.lane].run(cell), self.stop, self.job.workers, self.job.profile, seconds
        )
        if self.machine is not None:
            self.machine.look()
        return broken

    def stop(self) -> None:
        """End every guest."""
        for lane in self.lanes.values():
            lane.stop()

    def _machine_lost(self, why: str) -> None:
        """Touch it no more; what was not answered yet is missing, and says nothing about the patch."""
        self.records.note(why)
        self.stop()

    def close(self) -> None:
        """End every guest, give a borrowed machine back, and close the records."""
        self.stop()
        try:
            if self.machine is not None:
                self.machine.close()
        finally:
            for lane in self.lanes.values():
                lane.close()
            self._held.close()


def _first_of(keys: Mapping[str, str]) -> dict[str, str]:
    """Each name with the first one that has the same key."""
    first: dict[str, str] = {}
    return {name: first.setdefault(key, name) for name, key in keys.items()}
