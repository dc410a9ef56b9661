# SPDX-License-Identifier: GPL-2.0-only
"""A lane whose guests are scripted, for tests of the loop that replaces lost ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import InfraError
from harness.host.snapshot import StateDamaged
from harness.lane import LaneRun, Question
from harness.log import say
from harness.model.kernel import Kernel, Module, Profile
from harness.model.result import Outcome
from harness.model.session import Lost, SessionLost, Start, SuiteRequest
from harness.model.variant import Variant
from harness.plan import Cell

TESTS = ("test_x.py::test_a", "test_x.py::test_b", "test_x.py::test_c")
Behaviour = Callable[[str], str]
KERNEL_GONE = Lost(False, "no report within 80 s; it answered an NMI", "Kernel panic - not syncing: NMI")
LEAK = """unreferenced object 0xffff888105a3c000 (size 1024):
  comm "python3", pid 312, jiffies 4294701234
  backtrace (crc 8fdb9d11):
    __kmalloc_cache_noprof+0x25e/0x380
    aie2_hwctx_init+0x4c/0x8f0 [amdxdna]
"""
NPU_GONE = Lost(True, "the emulated NPU ended with status 70", "")


class ScriptedSession:
    """Runs tests by asking ``behave`` what becomes of each: pass, fail, lost, npu; lost-after, npu-after: when it has
    reported; or silence, which switches lockdep off; or leak, which kmemleak finds."""

    def __init__(self, release: str, behave: Behaviour, device: bool = True) -> None:
        self.release = release
        self.build_id = "b1d"
        self.behave = behave
        self.device = device

    def load_driver(self, timeout: float) -> str:
        return "b1d"

    def run(self, argv: Sequence[str], timeout: float = 60.0) -> tuple[int, str]:
        return (0 if self.device or argv[0] != "test" else 1), "dmesg text"

    def settle(self, seconds: float) -> bool:
        return True

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None: ...

    def get(self, path: str) -> bytes:
        return b""

    def console(self) -> str:
        return ""

    def alive(self) -> bool:
        return True

    def capabilities(self) -> frozenset[str]:
        return frozenset()

    def suite(self, request: SuiteRequest) -> Iterator[Mapping[str, Any]]:
        common = {"boot": request.boot, "attempt": request.attempt}
        tests = request.tests if request.tests is not None else TESTS
        lost = ""
        yield {"event": "suite-start", "tests": list(tests), **common}
        for test in tests:
            yield {"event": "test-start", "id": test, **common}
            what = self.behave(test)
            if what in ("lost", "npu"):
                raise SessionLost(KERNEL_GONE if what == "lost" else NPU_GONE)
            outcome = {"skip": "skip", "fail": "fail", "spoil": "fail"}.get(what, "pass")
            silenced = ["lockdep"] if what == "silence" else []
            end = {"event": "test-end", "id": test, "outcome": outcome, "text": "", **common}
            yield {**end, "silenced": silenced, "spoiled": what == "spoil"}
            if (what == "silence" and request.armed) or (what == "fail" and request.halting) or what == "spoil":
                yield {"event": "suite-end", "unreferenced": lost if request.kmemleak else "", "since": 100, **common}
                return
            lost = lost or (LEAK if what == "leak" else "")
            if what in ("npu-after", "lost-after"):
                raise SessionLost(NPU_GONE if what == "npu-after" else KERNEL_GONE)
        yield {"event": "suite-end", "unreferenced": lost if request.kmemleak else "", "since": 100, **common}


class Lab:
    """Counts boots, and hands out what the test says."""

    def __init__(self, behave: Behaviour = lambda test: "pass") -> None:
        self.behave = behave
        self.release = "7.3.4-xdna-key"
        self.device = True
        self.dead_boots: list[Exception] = []
        self.boots = 0
        self.starts: list[Start] = []
        self.saved: set[Start] = set()
        self.damaged = 0
        self.cannot_save = ""
        self.idle = True
        self.ended = False

    @contextmanager
    def open(self, folder: Path, start: Start) -> Iterator[ScriptedSession]:
        self.boots += 1
        self.starts.append(start)
        if start is not Start.COLD and self.damaged:
            self.damaged -= 1
            self.saved.discard(start)
            raise StateDamaged("the saved guest is damaged")
        if self.dead_boots:
            raise self.dead_boots.pop(0)
        session = ScriptedSession(self.release, self.behave, self.device)
        session.settle = lambda seconds: self.idle  # type: ignore[method-assign]
        yield session

    fresh = True

    def has(self, start: Start) -> bool:
        return start is Start.COLD or start in self.saved

    def make_kernel(self, folder: Path) -> None:
        if self.cannot_save:
            raise InfraError(self.cannot_save)
        if self.dead_boots:
            raise self.dead_boots.pop(0)
        self.saved.add(Start.KERNEL)

    def save_driver(self, session: object) -> None:
        self.saved.add(Start.DRIVER)

    def discard(self, start: Start) -> None:
        self.saved.discard(start)

    def end(self) -> None:
        self.ended = True


def lane(
    lab: Lab,
    folder: Path,
    start: Start = Start.COLD,
    kmemleak: bool = False,
    halting: bool = False,
    note: Callable[[str], None] = say,
) -> LaneRun:
    kernel = Kernel("key", "7.3.4-xdna-key", Profile.PLAIN, folder, (), folder, folder)
    module = Module("m", kernel, (), "b1d", "d", folder)
    question = Question("heap", "", 60.0, start=start, kmemleak=kmemleak, halting=halting)
    return LaneRun(module, folder, question, lab, note)


def outcomes(run: LaneRun) -> dict[str, Outcome]:
    return {r.id: r.outcome for r in run.results().results}


CELL = Cell("head", Variant())
