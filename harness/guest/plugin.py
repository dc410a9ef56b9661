# SPDX-License-Identifier: GPL-2.0-only
"""The pytest plug-in that tells the host what happens, event by event.

It only collects. What is a splat or a leak is decided on the host. It joins a session whose tests are collected already
(harness/guest/suite.py).
"""

from __future__ import annotations

import gc
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from harness.drm.calls import ANSWERS
from harness.guest import counters, detectors, frozen, gcov, kmemleak
from harness.guest.fixtures import SERIES
from harness.guest.kmsg import Reader
from harness.guest.limit import limited
from harness.guest.mailbox import Mailbox
from harness.guest.port import Link, PortError

CLEANUP_SECONDS = 5.0
TEXT_CHARACTERS = 16000
SUITES = {
    "heap": "not enumeration and not long and not hunt",
    "mode": "mode and not enumeration and not long and not hunt",
    "stress": "stress and not enumeration and not hunt",
    "enumeration": "enumeration",
    "soak": "soak",
    "hunt": "hunt",
}
"""The suites, by the marks of their tests."""
SLEEP_SECONDS = 10.0
"""How long the device may take to sleep before a test whose messages to firmware are compared."""
SLOWER = 5
"""How much longer a kernel with detectors may take to free what it frees late: an address space waits for SRCU."""
_FAILURES = (AssertionError, OSError, pytest.fail.Exception)


@dataclass(frozen=True)
class Order:
    """Which tests to run, in which order (None: all, in file order), and each one's soft limit in seconds.

    ``files``: of these files only. ``suite``: a name of :data:`SUITES`. ``quick``: only those that are marked so.
    ``armed``: end with the test in which a detector went silent, ``halting``: with the first that fails; the rest is
    for a fresh guest. ``kmemleak``: look for lost memory at the end, on kernels that can. ``counts``: say at the
    beginning and with each test what the driver counted. ``traced``: what it answered, and what it said to firmware.
    """

    tests: list[str] | None
    keyword: str | None
    limit: float
    files: list[str] | None = None
    quick: bool = False
    suite: str = "heap"
    armed: bool = False
    kmemleak: bool = False
    halting: bool = False
    counts: bool = False
    traced: bool = False

    @classmethod
    def read(cls, command: Mapping[str, Any], limit: float) -> Order:
        """The order in a "suite" command; ``limit`` unless it names one."""
        seconds = float(command.get("limit") or limit)
        flags = {
            name: bool(command.get(name)) for name in ("quick", "armed", "kmemleak", "halting", "counts", "traced")
        }
        suite = str(command.get("suite") or "heap")
        return cls(command.get("tests"), command.get("k"), seconds, command.get("files"), suite=suite, **flags)

    @property
    def marks(self) -> str:
        """What pytest -m would be told."""
        return f"({SUITES[self.suite]}) and quick" if self.quick else SUITES[self.suite]


@dataclass
class Outcome:
    """How a test ended: the first phase that was not passed decides."""

    outcome: str = "pass"
    phase: str = "call"
    text: str = ""
    duration: float = 0.0


class Events:
    """The hooks. Only a :class:`PortError` leaves them: then nothing that we say would arrive."""

    def __init__(self, link: Link, order: Order, kmsg: Reader) -> None:
        self.link = link
        self.order = order
        self.kmsg = kmsg
        self.current = Outcome()
        self.deadline = 0.0
        self.counters: dict[str, int] = {}
        self.armed: dict[str, bool] = {}
        self.silenced: list[str] = []
        self.spoiled = False
        self.began = 0
        self.mailbox = Mailbox()

    def chosen(self, items: list[pytest.Item]) -> list[pytest.Item]:
        """The tests that were asked for, in that order."""
        files, tests = self.order.files, self.order.tests
        if files is not None:
            items = [item for item in items if item.nodeid.partition("::")[0] in files]
        if tests is not None:
            place = {name: number for number, name in enumerate(tests)}
            items = sorted((i for i in items if i.nodeid in place), key=lambda item: place[item.nodeid])
        return items

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        gc.enable()  # PID 1 starts without
        self.began = kmemleak.now()
        self._event("suite-start", tests=[item.nodeid for item in session.items], **self._counted())

    def _counted(self) -> dict[str, object]:
        """What the driver counted since the last test began."""
        return {"gcov": gcov.counts()} if self.order.counts else {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self.current = Outcome()
        self._event("test-start", id=item.nodeid)
        if self.order.traced:
            frozen.settle_all(SLEEP_SECONDS)
        self.deadline = time.monotonic() + self.order.limit
        before = allowed(item, self.counters or counters.snapshot())
        armed = self.armed or detectors.armed()
        detectors.arm_again()
        if self.order.counts:
            gcov.reset()
        if self.order.traced:
            ANSWERS.clear()
            self.mailbox.begin()
        try:
            return (yield)
        finally:
            result = self.current
            traced = self._traced() if self.order.traced else {}
            self.armed = detectors.armed()
            self.counters = counters.settled(before, seconds=counters.SETTLE_SECONDS * (SLOWER if self.armed else 1))
            self.silenced = [name for name, on in armed.items() if on and not self.armed.get(name)]
            self.spoiled = result.outcome in ("fail", "error") and any(item.iter_markers("spoils"))
            self._event(
                "test-end",
                id=item.nodeid,
                outcome=result.outcome,
                phase=result.phase,
                text=result.text,
                duration=round(result.duration, 3),
                counters={"before": before, "after": self.counters},
                measures=dict(item.user_properties),
                **({"series": item.stash[SERIES]} if SERIES in item.stash else {}),
                disarmed=[name for name, on in armed.items() if not on],
                silenced=self.silenced,
                spoiled=self.spoiled,
                **self._counted(),
                **traced,
            )

    def _traced(self) -> dict[str, object]:
        lines = self.mailbox.end()
        heard = {"deaf": self.mailbox.why_not} if self.mailbox.why_not else {"mailbox": lines}
        return {"calls": list(ANSWERS), **heard}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self) -> Generator[None, object, object]:
        with limited(self._seconds_left(), self._busy):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        with limited(self._seconds_left(), self._busy):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self) -> Generator[None, object, object]:
        with limited(self._seconds_left(), self._busy):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        self.current.duration += report.duration
        if not report.passed and self.current.outcome == "pass":
            self.current.phase = report.when
            self.current.outcome = classify(report, call)
            self.current.text = describe(report)
        return report

    @property
    def cut(self) -> bool:
        """Whether the rest of the tests is for a fresh guest."""
        failed = self.current.outcome in ("fail", "error")
        return self.spoiled or (self.order.armed and bool(self.silenced)) or (self.order.halting and failed)

    def finish(self, status: int, trouble: str) -> None:
        """The last event: pytest's exit status, and why nothing could be collected if so."""
        self._event("suite-end", status=status, text=trouble[-TEXT_CHARACTERS:], **self._lost_memory())

    def _lost_memory(self) -> dict[str, Any]:
        """What kmemleak found, if it was to look: ``unreferenced``, and since when it counts, in jiffies."""
        if not self.order.kmemleak or not (self.armed or detectors.armed()).get("kmemleak"):
            return {}
        return {"unreferenced": kmemleak.unreferenced(), "since": self.began}

    def _seconds_left(self) -> float:
        """The limit is the whole test's; clean-up gets some seconds in any case."""
        return max(CLEANUP_SECONDS, self.deadline - time.monotonic())

    def _busy(self) -> bool:
        return self.link.port.busy

    def _event(self, name: str, **fields: Any) -> None:
        """Every event carries the kernel's messages since the one before, and how many of them were lost."""
        records, lost = self.kmsg.read()
        fields["kmsg"] = [record.as_json() for record in records]
        if lost:
            fields["kmsg_lost"] = lost
        self.link.event(name, **fields)


def allowed(item: pytest.Item, before: dict[str, int]) -> dict[str, int]:
    """The counters before a test, with what it says that it leaves."""
    more = {str(mark.args[0]): int(mark.args[1]) for mark in item.iter_markers("leaves")}
    return {name: count + more.get(name, 0) for name, count in before.items()}


def classify(report: pytest.TestReport, call: pytest.CallInfo[None]) -> str:
    """ "skip"; "fail": the driver or the test said no; "error": we could not ask."""
    if report.skipped:
        return "skip"
    kind: type[BaseException] = call.excinfo.type if call.excinfo else PortError
    if issubclass(kind, PortError):
        return "error"
    return "fail" if report.when == "call" or issubclass(kind, _FAILURES) else "error"


def describe(report: pytest.TestReport) -> str:
    """A skip's reason; else the message in the first line and the traceback below it."""
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    head = f"{crash.message}\n\n" if crash else ""
    return (head + without_libraries(report.longreprtext))[:TEXT_CHARACTERS]


def without_libraries(text: str) -> str:
    """A traceback without the frames of pytest and its like.

    (pytest's own short style parses every source file again for each frame: a second per failure here.)
    """
    lines: list[str] = []
    hidden = False
    for line in text.splitlines():
        if line.startswith('  File "'):
            hidden = "-packages/" in line or "guest/plugin.py" in line
        elif not line.startswith("    "):
            hidden = False
        if not hidden:
            lines.append(line)
    return "\n".join(lines)
