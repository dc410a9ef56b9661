# SPDX-License-Identifier: GPL-2.0-only
"""Run the cells of one lane: boot, prove what booted, load the driver, run the suite; go on with a fresh guest when one
is lost. Everything that happens goes into the lane's records first."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.checks.suite import planned, run_suite
from harness.errors import InfraError
from harness.formats.records import fold, reported
from harness.host.recorder import Recorder
from harness.log import say, step
from harness.model.judge import LaneResults
from harness.model.kernel import Kernel, Profile
from harness.model.session import Lost, Session, SessionLost, SuiteRequest
from harness.plan import Cell

BOOT_TRIES = 2
"""A kernel that does not come up is asked twice before it is called broken: a lab may stumble once."""
SLOWER = {Profile.PLAIN: 1.0, Profile.DEBUG: 5.0}
"""How much longer everything takes on a debug kernel: about 9 times to boot, 2 to 6 in a test."""
DEVICE = "/dev/accel/accel0"


class DriverSession(Session, Protocol):
    """A session that can still load the driver."""

    def load_driver(self, timeout: float) -> str: ...


class OpenSession(Protocol):
    """Opens a session on a target; what it writes goes to the given folder."""

    def __call__(self, folder: Path) -> AbstractContextManager[DriverSession]: ...


@dataclass(frozen=True)
class Question:
    """What the suite is asked in every guest of this lane."""

    suite: str
    select: str
    test_seconds: float


class Broken(Exception):
    """The lane cannot go on; the reason is in its records."""


class LaneRun:
    """One lane on one variant."""

    def __init__(self, kernel: Kernel, folder: Path, question: Question, open_session: OpenSession) -> None:
        self.kernel = kernel
        self.folder = folder
        self.question = question
        self.open_session = open_session
        self.records = Recorder(folder / "results.jsonl")
        self.factor = SLOWER[kernel.profile]

    @property
    def events(self) -> Sequence[Mapping[str, Any]]:
        return self.records.events

    def stage(self, name: str, outcome: str, evidence: str = "", seconds: float = 0.0, console: str = "") -> None:
        """Record how a stage ended, once: a stage that passed before is not recorded again."""
        record = {"event": "stage", "id": f"stage/{name}", "outcome": outcome}
        if outcome == "PASS" and any(all(e.get(k) == v for k, v in record.items()) for e in self.events):
            return
        self.records.add({**record, "evidence": evidence, "seconds": round(seconds, 3), "console": console})

    def run(self, cell: Cell) -> None:
        """Run a cell to its end: every test of it has reported, is lost, or could not be asked."""
        failed_boots = 0
        unaskable: set[str] = set()
        while True:
            left = self._left(cell, unaskable)
            if left is not None and not left:
                return
            before = len(self.events)
            try:
                lost = self._boot_and_run(cell, left)
            except _NotUp as problem:
                failed_boots += 1
                if failed_boots >= BOOT_TRIES:
                    self._give_up(problem)
                    raise Broken from None
                say(f"{problem.lost.evidence.splitlines()[0]}: trying once more in a fresh guest")
                continue
            new = self.events[before:]
            unaskable |= {str(e["id"]) for e in new if e.get("event") in ("lost", "fault") and _is_error(e)}
            if lost is None:
                return
            if not any(e.get("event") in ("test-end", "lost") for e in new):
                failed_boots += 1
                if failed_boots >= BOOT_TRIES:
                    self._give_up(_NotUp("suite", lost))
                    raise Broken
            else:
                failed_boots = 0

    def _left(self, cell: Cell, unaskable: set[str]) -> tuple[str, ...] | None:
        """The tests still to be asked; None when only the guest can tell."""
        wanted = cell.tests if cell.tests is not None else planned(self.events, cell.attempt)
        if wanted is None:
            return None
        done = reported(self.events, cell.attempt) | unaskable
        return tuple(test for test in wanted if test not in done)

    def _give_up(self, problem: _NotUp) -> None:
        """A stage failed; it stays the last word, also when an earlier guest of this lane came up."""
        name = problem.stage if not any(e.get("event") == "test-end" for e in self.events) else "restart"
        outcome = "ERROR" if problem.lost.ours or name == "restart" else "LOST"
        self.stage(name, outcome, problem.lost.evidence, console=problem.lost.console)

    def _boot_and_run(self, cell: Cell, left: tuple[str, ...] | None) -> Lost | None:
        number = 1 + sum(e.get("event") == "boot" for e in self.events)
        request = SuiteRequest(
            self.question.suite,
            left,
            self.question.select,
            cell.attempt,
            number,
            self.question.test_seconds * self.factor,
        )
        self.records.add({"event": "boot", "boot": number, "attempt": cell.attempt})
        with step(
            f"{cell.lane}: boot {number}" + (f", attempt {cell.attempt}" if cell.attempt > 1 else "")
        ) as progress:
            started = time.monotonic()
            stage = "boot"
            try:
                with self.open_session(self.folder / f"boot-{number}") as session:
                    self._prove(session)
                    self.stage("boot", "PASS", session.release, time.monotonic() - started)
                    stage = "probe"
                    self._probe(session)

                    def add(event: Mapping[str, Any]) -> None:
                        self.records.add({**event, "at": round(time.monotonic() - started, 3)})
                        if event.get("event") == "test-start":
                            progress.update(str(event["id"]))
                        elif event.get("event") == "test-end" and event.get("outcome") != "pass":
                            say(f"{str(event['outcome']).upper()} {event['id']}")

                    lost = run_suite(session, request, add)
            except SessionLost as gone:
                raise _NotUp(stage, gone.lost) from None
            except InfraError as error:
                raise _NotUp(stage, Lost(True, " ".join(error.lines()), "")) from error
        if lost is not None:
            say(f"guest lost: {lost.evidence.splitlines()[0]}")
        return lost

    def _prove(self, session: Session) -> None:
        """uname -r carries the kernel's key: what booted is what was built."""
        if session.release != self.kernel.release:
            raise InfraError(
                f"the guest runs {session.release!r}, not {self.kernel.release!r}",
                hint="delete the cache with 'xdna-harness clean' and run again",
            )

    def _probe(self, session: DriverSession) -> None:
        """Load the driver; it must make its device node."""
        started = time.monotonic()
        build_id = session.load_driver(60.0 * self.factor)
        status, _ = session.run(["test", "-e", DEVICE])
        if status != 0:
            _, messages = session.run(["dmesg"])
            tail = "\n".join(messages.splitlines()[-30:])
            raise SessionLost(Lost(False, f"the driver did not make {DEVICE}\n{tail}", session.console()))
        self.stage("probe", "PASS", f"build-id {build_id}", time.monotonic() - started)

    def results(self) -> LaneResults:
        """What the lane has answered so far."""
        return fold(self.events)

    def close(self) -> None:
        self.records.close()


class _NotUp(Exception):
    """A guest did not get to its suite."""

    def __init__(self, stage: str, lost: Lost) -> None:
        super().__init__(lost.evidence)
        self.stage = stage
        self.lost = lost


def _is_error(event: Mapping[str, Any]) -> bool:
    return event.get("event") == "fault" or event.get("outcome") == "ERROR"
