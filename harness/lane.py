# SPDX-License-Identifier: GPL-2.0-only
"""Run the cells of one lane: start a guest, prove what runs in it, load the driver, run the suite; go on with a fresh
guest when one is lost. Everything that happens goes into the lane's records first.

Several cells of a lane may run at once, each in guests of its own.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness import kmemleak
from harness.checks.suite import planned, run_suite
from harness.errors import InfraError, UsageError
from harness.formats.events import reported
from harness.formats.records import fold
from harness.formats.splat import find_splats
from harness.host.recorder import Recorder
from harness.log import say, step
from harness.model.judge import LaneResults
from harness.model.kernel import Module
from harness.model.result import KERNEL_LOG
from harness.model.session import Lost, Session, Start, SuiteRequest
from harness.plan import BASE, Cell
from harness.starts import NotRestored, NotUp, Opener, Starts

BOOT_TRIES = 2
"""A kernel that does not come up is asked twice before it is called broken: a lab may stumble once."""
ASKINGS = 2
"""So is a test during which we were at fault."""


@dataclass(frozen=True)
class Question:
    """What the suite is asked in every guest of this lane, and how these start at best. ``kmemleak``: each cell's tests
    run once more, to see what memory they lose. ``halting``: after a test that fails the rest gets a fresh guest.
    ``counts``: each test says which lines it ran, and each guest which it ran before them. ``script``: what the random
    walk does. ``traced``: each test says what was answered."""

    suite: str
    select: str
    test_seconds: float
    quick: bool = False
    start: Start = Start.COLD
    kmemleak: bool = False
    halting: bool = False
    counts: bool = False
    script: str = ""
    traced: bool = False


class AnotherDriver(UsageError):
    """A lane's records are another driver's."""


class Broken(Exception):
    """The lane cannot go on; the reason is in its records."""


class LaneRun:
    """One lane on one variant."""

    def __init__(
        self, module: Module, folder: Path, question: Question, guests: Opener, note: Callable[[str], None] = say
    ) -> None:
        self.module = module
        self.folder = folder
        self.question = question
        self.guests = guests
        self.note = note
        self.records = Recorder(folder / "results.jsonl")
        self.starts = Starts(module, folder, guests, question.start, self.stage, note)
        self.visit: Callable[[Session, Sequence[Mapping[str, Any]]], None] | None = None
        """What is done in each guest behind its last test, while it lives: it gets the events of its tests."""
        self._lock = threading.RLock()
        self._given_up: set[str] = set()
        self._stopped = False

    @property
    def events(self) -> Sequence[Mapping[str, Any]]:
        return self.records.events

    def stage(self, name: str, outcome: str, evidence: str = "", seconds: float = 0.0, console: str = "") -> None:
        """Record how a stage ended, once: a stage that passed the last time is not recorded again. One that this
        process has given up stays so, whatever a neighbour's guest says then: that group was not asked."""
        record = {"event": "stage", "id": f"stage/{name}", "outcome": outcome}
        with self._lock:
            last = next((e for e in reversed(self.events) if e.get("id") == record["id"]), None)
            passed = last is not None and last.get("outcome") == "PASS"
            if outcome == "PASS" and (passed or record["id"] in self._given_up):
                return
            self.records.add({**record, "evidence": evidence, "seconds": round(seconds, 3), "console": console})

    def run(self, cell: Cell, enough: Callable[[], bool] = lambda: False) -> None:
        """Run a cell to its end: every test of it has reported, is lost, or could not be asked; then look what memory
        they lost, if that is asked. A guest is not replaced by a fresh one when ``enough`` is known."""
        self._answer(cell, enough)
        if self.question.kmemleak and cell.look:
            part, why = kmemleak.look(cell, self.events, partial(self._look_at, cell), lambda: self._stopped, self.note)
            if why:
                place = {"attempt": cell.attempt, "group": cell.group, "tests": sorted(part)}
                self.records.add({"event": "unlooked", **place, "why": why})

    def answered(self, cells: Sequence[Cell]) -> bool:
        """Whether kmemleak has looked at all these cells, if it is asked."""
        return not self.question.kmemleak or not any(kmemleak.left(cell, self.events) for cell in cells)

    def _answer(self, cell: Cell, enough: Callable[[], bool]) -> None:
        failed: Counter[bool] = Counter()
        errors: Counter[str] = Counter()
        died: Lost | None = None
        while True:
            left = self._left(cell, {test for test, times in errors.items() if times >= ASKINGS})
            if left is not None and not left:
                return
            if self._stopped:
                self.cut_short()
                raise Broken
            new: list[Mapping[str, Any]] = []
            try:
                lost = self._boot_and_run(cell, left, new)
                if lost is not None and not any(e.get("event") in ("test-end", "lost") for e in new):
                    raise NotUp("suite" if lost.ours else "probe", lost)  # base has an answer to compare it with
            except NotRestored as problem:
                self.starts.give_way(problem.start, problem.error)
                continue
            except NotUp as problem:
                if enough():
                    return
                self._count(problem, failed)
                died = died if problem.lost.ours else problem.lost
                continue
            failed.clear()
            self._tell(cell, died)
            died = None
            doubted = {str(e["id"]): e for e in new if e.get("event") in ("lost", "fault") and _is_error(e)}
            errors.update(doubted.keys())
            again = [test for test in self._left(cell, set()) or () if test in doubted and errors[test] < ASKINGS]
            if (lost is None and not again and not _cut_short(new, self.question.halting)) or enough():
                return
            for test in again:
                self.note(f"{cell.lane}: {test} is asked once more: {_why(doubted[test])}")

    def _count(self, problem: NotUp, failed: Counter[bool]) -> None:
        """Count a guest that did not get to its tests, by whether that was our fault: a stumble of the lab takes no try
        away from the kernel. Raises Broken after the last one."""
        failed[problem.lost.ours] += 1
        if failed[problem.lost.ours] >= BOOT_TRIES:
            self._give_up(problem)
            raise Broken from None
        say(f"{problem.lost.evidence.splitlines()[0]}: trying once more in a fresh guest")

    def _tell(self, cell: Cell, died: Lost | None) -> None:
        """Of a kernel that died before its first test, and came up when it was tried once more. What it said is the
        kernel log's, which can be asked again; one that said nothing may have been the lab's."""
        if died is None:
            return
        evidence = f"{died.evidence}\nanother guest came up"
        excuse = cell.lane == BASE and cell.attempt == 1  # what base said once must not excuse the head
        if excuse or not find_splats(died.console):
            self.note(f"{cell.lane}: {died.evidence.splitlines()[0]}; another guest came up")
            return
        place = {"event": "lost", "attempt": cell.attempt, "id": KERNEL_LOG}
        self.records.add({**place, "outcome": "LOST", "evidence": evidence, "console": died.console})

    def _left(self, cell: Cell, unaskable: set[str]) -> tuple[str, ...] | None:
        """The tests still to be asked; None when only the guest can tell."""
        wanted = cell.tests if cell.tests is not None else planned(self.events, cell.attempt, cell.group)
        if wanted is None:
            return None
        done = reported(self.events, cell.attempt) | unaskable
        return tuple(test for test in wanted if test not in done)

    def _give_up(self, problem: NotUp) -> None:
        """A stage failed; it stays the last word, also when an earlier guest of this lane came up."""
        name = problem.stage if not any(e.get("event") == "test-end" for e in self.events) else "restart"
        outcome = "ERROR" if problem.lost.ours or name == "restart" else "LOST"
        self._given_up.add(f"stage/{name}")
        self.stage(name, outcome, problem.lost.evidence, console=problem.lost.console)

    def _start_of(self, cell: Cell) -> Start:
        """From where this cell's guests should start, unless it says so itself. A repetition must not share a saved
        driver with the answer it is to confirm, nor one about the kernel's log a saved kernel."""
        if cell.start is not None:
            return cell.start
        if cell.attempt == 1:
            return Start.DRIVER
        return Start.COLD if KERNEL_LOG in (cell.tests or ()) else Start.KERNEL

    def _look_at(self, cell: Cell, tests: Sequence[str]) -> Lost | None:
        return self._boot_and_run(cell, tuple(tests), [], naming=True)

    def _boot_and_run(
        self, cell: Cell, left: tuple[str, ...] | None, new: list[Mapping[str, Any]], naming: bool = False
    ) -> Lost | None:
        """One guest. ``new`` receives the events of its tests. ``naming``: only to see which of them lose memory."""
        start = self.starts.prepare(self._start_of(cell))
        about = {"attempt": cell.attempt, "group": cell.group, "start": start.value}
        number = self.records.add_boot({**about, "naming": True, "tests": list(left or ())} if naming else about)
        tests = None if left is None else tuple(test for test in left if test != KERNEL_LOG)
        question = self.question
        request = SuiteRequest(
            question.suite,
            tests,
            question.select,
            cell.attempt,
            number,
            question.test_seconds * self.starts.factor,
            (cell.group,) if cell.group else (),
            question.quick,
            armed=self.guests.fresh and not naming,
            kmemleak=naming,
            halting=question.halting,
            counts=question.counts,
            script=question.script,
            traced=question.traced,
        )
        title = f"{cell.lane}: {cell.group or 'suite'}, guest {number} ({start.value})"
        with ExitStack() as guest:
            with step(title + (f", attempt {cell.attempt}" if cell.attempt > 1 else "")) as progress:
                started = time.monotonic()
                session = guest.enter_context(self.starts.session(self.folder / f"boot-{number}", start))

                def add(event: Mapping[str, Any]) -> None:
                    self.records.add({**event, "at": round(time.monotonic() - started, 3)})
                    new.append(event)
                    if event.get("event") == "test-start":
                        progress.update(str(event["id"]))
                    elif event.get("event") == "test-end" and event.get("outcome") not in ("pass", "skip"):
                        say(f"{str(event['outcome']).upper()} {event['id']}")

                try:
                    lost = run_suite(session, request, add)
                except InfraError as error:
                    raise NotUp("suite", Lost(True, " ".join(error.lines()), "")) from error
            if self.visit is not None and lost is None:
                self.visit(session, new)
        if lost is not None:
            say(f"guest lost: {lost.evidence.splitlines()[0]}")
        return lost

    def late(self, place: Mapping[str, Any], lost: Lost, died: bool) -> None:
        """What a kernel did when its suite had ended is its last test's (boot, attempt, id), as what it says between
        two tests is."""
        if died:
            said = {"outcome": "LOST", "evidence": lost.evidence, "console": lost.console}
            self.records.add({"event": "lost", **place, **said})
        else:
            self.records.add({**place, "event": "suite-end", "status": 0, "kmsg": lost.console})  # its id says whose

    def try_anew(self) -> None:
        """What was given up is asked from the beginning, and may end in another way."""
        self._given_up.clear()

    def cut_short(self) -> None:
        """What is missing was not asked: it says nothing until the lane is taken up again."""
        self.records.add({"event": "stopped"})

    def claim(self) -> None:
        """Make these records those of this driver. AnotherDriver: they are another's, whose answers would be its
        own."""
        mine = {"kernel": self.module.kernel.key, "module": self.module.key, "digest": self.module.digest}
        before = next((e for e in self.events if e.get("event") == "driver"), None)
        if before is None:
            self.records.add({"event": "driver", **mine})
        elif before["module"] == mine["module"] or all(before[k] == mine[k] for k in ("kernel", "digest")):
            self.records.add({"event": "taken-up"})
        else:
            raise AnotherDriver(
                f"{self.folder} has answers of another driver: its sources have changed since then",
                hint="name another --out",
            )

    @property
    def reused(self) -> bool:
        """Whether its answers were taken over."""
        return any(event.get("event") == "reused" for event in self.events)

    def reuse(self, events: Sequence[Mapping[str, Any]], run: str) -> None:
        """Take over the answers of an earlier run of the same driver on the same variant: all of them, or none."""
        if not self.reused:
            self.records.add_all([{"event": "reused", "run": run}, *events])

    def results(self) -> LaneResults:
        """What the lane has answered so far."""
        return fold(self.events)

    def stop(self) -> None:
        """End the guests that run now, and start no other."""
        self._stopped = True
        self.guests.end()

    def close(self) -> None:
        self.records.close()


def _cut_short(new: Sequence[Mapping[str, Any]], halting: bool) -> bool:
    """Whether the guest ended its suite because its last test silenced a detector, spoiled the guest, or failed."""
    last = next((event for event in reversed(new) if event.get("event") == "test-end"), None)
    if last is None:
        return False
    failed = last.get("outcome") in ("fail", "error")
    return bool(last.get("silenced") or last.get("spoiled")) or (halting and failed)


def _is_error(event: Mapping[str, Any]) -> bool:
    return event.get("event") == "fault" or event.get("outcome") == "ERROR"


def _why(event: Mapping[str, Any]) -> str:
    return str(event.get("evidence") or event.get("what")).partition("\n")[0]
