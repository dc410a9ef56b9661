# SPDX-License-Identifier: GPL-2.0-only
"""Run the cells of one lane: start a guest, prove what runs in it, load the driver, run the suite; go on with a fresh
guest when one is lost. Everything that happens goes into the lane's records first.

Several cells of a lane may run at once, each in guests of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.checks import coverage
from harness.checks.suite import planned, run_suite
from harness.errors import InfraError
from harness.formats.lost_memory import halves, lost_memory
from harness.formats.records import KERNEL_LOG, fold, reported
from harness.host.recorder import Recorder
from harness.host.snapshot import StateDamaged
from harness.log import say, step
from harness.model.judge import LaneResults
from harness.model.kernel import Module, Profile
from harness.model.session import Lost, Session, SessionLost, Start, SuiteRequest
from harness.plan import Cell

BOOT_TRIES = 2
"""A kernel that does not come up is asked twice before it is called broken: a lab may stumble once."""
RESTORE_TRIES = 2
"""A saved state that does not run is made anew once; then guests start from further below."""
SLOWER = {Profile.PLAIN: 1.0, Profile.DEBUG: 5.0}
"""How much longer everything takes on a debug kernel: about 9 times to boot, 2 to 6 in a test."""
DEVICE = "/dev/accel/accel0"
SETTLE_SECONDS = 15.0
"""How long an idle driver may take to suspend its device when it is told to do so at once."""
ORDER = tuple(Start)
BELOW = {Start.DRIVER: Start.KERNEL, Start.KERNEL: Start.COLD}


class DriverSession(Session, Protocol):
    """A session that can still load the driver. ``build_id`` is that of the driver that is loaded, else empty."""

    build_id: str

    def load_driver(self, timeout: float) -> str: ...

    def settle(self, seconds: float) -> bool: ...


class Opener(Protocol):
    """Opens sessions on a target; what they write goes to the given folder."""

    fresh: bool
    """Whether each session is a guest of its own, with every detector armed."""

    def open(self, folder: Path, start: Start) -> AbstractContextManager[Any]: ...

    def has(self, start: Start) -> bool: ...

    def make_kernel(self, folder: Path) -> None: ...

    def save_driver(self, session: Any) -> None: ...

    def discard(self, start: Start) -> None: ...

    def end(self) -> None: ...


@dataclass(frozen=True)
class Question:
    """What the suite is asked in every guest of this lane, and how these start at best. ``kmemleak``: each cell's tests
    run once more, to see what memory they lose."""

    suite: str
    select: str
    test_seconds: float
    quick: bool = False
    start: Start = Start.COLD
    kmemleak: bool = False


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
        self.factor = SLOWER[module.kernel.profile]
        self._best = question.start
        self._failed: dict[Start, int] = {}
        self._lock = threading.RLock()
        self._stopped = False

    @property
    def events(self) -> Sequence[Mapping[str, Any]]:
        return self.records.events

    def stage(self, name: str, outcome: str, evidence: str = "", seconds: float = 0.0, console: str = "") -> None:
        """Record how a stage ended, once: a stage that passed before is not recorded again."""
        record = {"event": "stage", "id": f"stage/{name}", "outcome": outcome}
        with self._lock:
            if outcome == "PASS" and any(all(e.get(k) == v for k, v in record.items()) for e in self.events):
                return
            self.records.add({**record, "evidence": evidence, "seconds": round(seconds, 3), "console": console})

    def run(self, cell: Cell) -> None:
        """Run a cell to its end: every test of it has reported, is lost, or could not be asked; then look what memory
        they lost, if that is asked."""
        self._answer(cell)
        if self.question.kmemleak:
            self._look_for_leaks(cell)

    def _answer(self, cell: Cell) -> None:
        failed_boots = 0
        unaskable: set[str] = set()
        while True:
            if self._stopped:
                raise Broken
            left = self._left(cell, unaskable)
            if left is not None and not left:
                return
            new: list[Mapping[str, Any]] = []
            try:
                lost = self._boot_and_run(cell, left, new)
            except _NotRestored as problem:
                self._give_way(problem.start, problem.error)
                continue
            except _NotUp as problem:
                failed_boots += 1
                if failed_boots >= BOOT_TRIES:
                    self._give_up(problem)
                    raise Broken from None
                say(f"{problem.lost.evidence.splitlines()[0]}: trying once more in a fresh guest")
                continue
            unaskable |= {str(e["id"]) for e in new if e.get("event") in ("lost", "fault") and _is_error(e)}
            if lost is None and not _cut_short(new):
                return
            if lost is not None and not any(e.get("event") in ("test-end", "lost") for e in new):
                failed_boots += 1
                if failed_boots >= BOOT_TRIES:
                    self._give_up(_NotUp("suite", lost))
                    raise Broken
            else:
                failed_boots = 0

    def _left(self, cell: Cell, unaskable: set[str]) -> tuple[str, ...] | None:
        """The tests still to be asked; None when only the guest can tell."""
        wanted = cell.tests if cell.tests is not None else planned(self.events, cell.attempt, cell.group)
        if wanted is None:
            return None
        done = reported(self.events, cell.attempt) | unaskable
        return tuple(test for test in wanted if test not in done)

    def _give_up(self, problem: _NotUp) -> None:
        """A stage failed; it stays the last word, also when an earlier guest of this lane came up."""
        name = problem.stage if not any(e.get("event") == "test-end" for e in self.events) else "restart"
        outcome = "ERROR" if problem.lost.ours or name == "restart" else "LOST"
        self.stage(name, outcome, problem.lost.evidence, console=problem.lost.console)

    def _give_way(self, start: Start, error: InfraError) -> None:
        """A start that failed is tried again from a state made anew, then from further below. Never the kernel's fault:
        what it is to blame for shows in a cold boot too."""
        with self._lock:
            self._failed[start] = self._failed.get(start, 0) + 1
            if isinstance(error, StateDamaged) and self._failed[start] < RESTORE_TRIES:
                self.note(f"{self.module.kernel.release}: {error.message}: made anew")
                return
            self._best = min(self._best, BELOW[start], key=ORDER.index)
            self.note(f"{self.module.kernel.release}: {error.message}: guests start {self._best.value} from now on")

    def _start_of(self, cell: Cell) -> Start:
        """From where this cell's guests should start. A repetition must not share a saved driver with the answer it is
        to confirm, nor one about the kernel's log a saved kernel."""
        if cell.attempt == 1:
            return Start.DRIVER
        return Start.COLD if KERNEL_LOG in (cell.tests or ()) else Start.KERNEL

    def _look_for_leaks(self, cell: Cell) -> None:
        """Ask all tests of a cell that ended by themselves once more, in one guest, which looks for lost memory at its
        end; where it finds any, halves of them, down to the one that lost it."""
        parts = [tests] if (tests := self._to_look_at(cell)) else []
        while parts and not self._stopped:
            part, new = parts.pop(), list[Mapping[str, Any]]()
            try:
                lost = self._boot_and_run(cell, part, new, naming=True)
            except (_NotRestored, _NotUp) as problem:
                lost = Lost(True, str(problem), "")
            if lost is not None:
                what = lost.evidence.splitlines()[0]
                self.note(f"{cell.lane}: kmemleak did not look at {cell.group or 'the suite'}: {what}")
                return
            parts += halves(_who_lost_memory(new))

    def _to_look_at(self, cell: Cell) -> tuple[str, ...]:
        """The tests of a cell that passed or failed; none if they were looked at before."""
        mine = [e for e in self.events if e.get("event") == "boot" and e["attempt"] == cell.attempt]
        boots = {e["boot"] for e in mine if e.get("group", "") == cell.group}
        if any(e["boot"] in boots for e in mine if e.get("naming")):
            return ()
        ended = dict.fromkeys(
            str(e["id"])
            for e in self.events
            if e.get("event") == "test-end" and e.get("boot") in boots and e.get("outcome") in ("pass", "fail")
        )
        return tuple(test for test in ended if cell.tests is None or test in cell.tests)

    def _boot_and_run(
        self, cell: Cell, left: tuple[str, ...] | None, new: list[Mapping[str, Any]], naming: bool = False
    ) -> Lost | None:
        """One guest. ``new`` receives the events of its tests. ``naming``: only to see which of them lose memory."""
        start = self._prepared(self._start_of(cell))
        about = {"attempt": cell.attempt, "group": cell.group, "start": start.value}
        number = self.records.add_boot({**about, "naming": True} if naming else about)
        tests = None if left is None else tuple(test for test in left if test != KERNEL_LOG)
        question = self.question
        request = SuiteRequest(
            question.suite,
            tests,
            question.select,
            cell.attempt,
            number,
            question.test_seconds * self.factor,
            (cell.group,) if cell.group else (),
            question.quick,
            armed=self.guests.fresh and not naming,
            kmemleak=naming,
        )
        title = f"{cell.lane}: {cell.group or 'suite'}, guest {number} ({start.value})"
        with step(title + (f", attempt {cell.attempt}" if cell.attempt > 1 else "")) as progress:
            started = time.monotonic()
            with self._driver_session(self.folder / f"boot-{number}", start) as session:

                def add(event: Mapping[str, Any]) -> None:
                    self.records.add({**event, "at": round(time.monotonic() - started, 3)})
                    new.append(event)
                    if event.get("event") == "test-start":
                        progress.update(str(event["id"]))
                    elif event.get("event") == "test-end" and event.get("outcome") not in ("pass", "skip"):
                        say(f"{str(event['outcome']).upper()} {event['id']}")

                try:
                    lost = run_suite(session, request, add)
                    if self.module.counters:
                        self._count(session, lost, number)
                except InfraError as error:
                    raise _NotUp("suite", Lost(True, " ".join(error.lines()), "")) from error
        if lost is not None:
            say(f"guest lost: {lost.evidence.splitlines()[0]}")
        return lost

    def _count(self, session: Session, lost: Lost | None, number: int) -> None:
        """Fetch what the driver counted. A guest that is lost takes its counts along, which is said."""
        try:
            if lost is None and coverage.fetch(session, self.folder / f"boot-{number}"):
                return
        except (SessionLost, InfraError) as error:
            say(f"guest {number}: {error}")
        self.records.add({"event": "counts-lost", "boot": number})

    def _prepared(self, wanted: Start) -> Start:
        """Make what is missing for this start; what cannot be made gives way. Raises _NotUp."""
        with self._lock:
            while (start := min(wanted, self._best, key=ORDER.index)) is not Start.COLD:
                try:
                    self._make_kernel()
                    if start is Start.DRIVER:
                        self._make_driver()
                    break
                except _NotRestored as problem:
                    self._give_way(problem.start, problem.error)
                except InfraError as error:
                    self._give_way(start, error)
            return start

    def _make_kernel(self) -> None:
        if self.guests.has(Start.KERNEL):
            return
        with step(f"saving a booted {self.module.kernel.release}"):
            started = time.monotonic()
            try:
                self.guests.make_kernel(self.folder / "boot-kernel")
            except SessionLost as gone:
                raise _NotUp("boot", gone.lost) from None
            self.stage("boot", "PASS", self.module.kernel.release, time.monotonic() - started)

    def _make_driver(self) -> None:
        if self.guests.has(Start.DRIVER):
            return
        with step("saving a guest with the driver loaded"):
            with self._driver_session(self.folder / "boot-driver", Start.KERNEL) as session:
                try:
                    idle = session.settle(SETTLE_SECONDS * self.factor)
                except SessionLost as gone:
                    raise _NotUp("probe", gone.lost) from None
                if not idle:
                    raise InfraError("the driver does not suspend its idle device, and cannot be saved")
                self.guests.save_driver(session)

    @contextmanager
    def _driver_session(self, folder: Path, start: Start) -> Iterator[Any]:
        """A session with the driver loaded, both proved. Raises _NotUp and _NotRestored."""
        stage = "boot"
        started = time.monotonic()
        try:
            with self.guests.open(folder, start) as session:
                self._prove(start, "the kernel", session.release, self.module.kernel.release)
                self.stage("boot", "PASS", session.release, time.monotonic() - started)
                stage = "probe"
                if start is not Start.DRIVER:
                    self._probe(session)
                if self.module.build_id:
                    self._prove(start, "the driver", session.build_id, self.module.build_id)
                self.stage("probe", "PASS", f"build-id {session.build_id}")
                stage = ""
                yield session
        except SessionLost as gone:
            if not stage:
                raise
            raise _NotUp(stage, gone.lost) from None
        except StateDamaged as damaged:
            raise _NotRestored(start, damaged) from damaged
        except InfraError as error:
            if not stage:
                raise
            raise _NotUp(stage, Lost(True, " ".join(error.lines()), "")) from error

    def _prove(self, start: Start, what: str, found: str, built: str) -> None:
        """What runs is what was built: uname -r carries the kernel's key, the build-id names the driver."""
        if found == built:
            return
        message = f"{what} in the guest is {found!r}, not {built!r}"
        if start is Start.COLD:
            raise InfraError(message, hint="delete the cache with 'xdna-harness clean' and run again")
        self.guests.discard(start)
        raise StateDamaged(message)

    def _probe(self, session: DriverSession) -> None:
        """Load the driver; it must make its device node."""
        session.load_driver(60.0 * self.factor)
        status, _ = session.run(["test", "-e", DEVICE])
        if status != 0:
            _, messages = session.run(["dmesg"])
            tail = "\n".join(messages.splitlines()[-30:])
            raise SessionLost(Lost(False, f"the driver did not make {DEVICE}\n{tail}", session.console()))

    def reuse(self, events: Sequence[Mapping[str, Any]], run: str) -> None:
        """Take over the answers of an earlier run of the same driver on the same variant."""
        self.records.add({"event": "reused", "run": run})
        for event in events:
            self.records.add(event)

    def results(self) -> LaneResults:
        """What the lane has answered so far."""
        return fold(self.events)

    def stop(self) -> None:
        """End the guests that run now, and start no other."""
        self._stopped = True
        self.guests.end()

    def close(self) -> None:
        self.records.close()


def _cut_short(new: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the guest ended its suite because its last test silenced a detector."""
    ends = [event for event in new if event.get("event") == "test-end"]
    return bool(ends and ends[-1].get("silenced"))


def _who_lost_memory(new: Sequence[Mapping[str, Any]]) -> list[str]:
    """The tests of a guest in which kmemleak found something."""
    if not any(lost_memory(event).then for event in new if event.get("event") == "suite-end"):
        return []
    return [str(event["id"]) for event in new if event.get("event") == "test-start"]


class _NotUp(Exception):
    """A guest did not get to its suite."""

    def __init__(self, stage: str, lost: Lost) -> None:
        super().__init__(lost.evidence)
        self.stage = stage
        self.lost = lost


class _NotRestored(Exception):
    """A guest that was saved does not run; the saved state is gone now."""

    def __init__(self, start: Start, error: StateDamaged) -> None:
        super().__init__(error.message)
        self.start = start
        self.error = error


def _is_error(event: Mapping[str, Any]) -> bool:
    return event.get("event") == "fault" or event.get("outcome") == "ERROR"
