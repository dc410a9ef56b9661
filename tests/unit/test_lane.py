# SPDX-License-Identifier: GPL-2.0-only
"""The loop that replaces lost guests, against a scripted session."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InfraError
from harness.formats.records import KERNEL_LOG
from harness.lane import Broken, LaneRun, Question
from harness.model.kernel import Kernel, Profile
from harness.model.result import Outcome
from harness.model.session import Lost, SessionLost, SuiteRequest
from harness.model.variant import Variant
from harness.plan import Cell

TESTS = ("test_x.py::test_a", "test_x.py::test_b", "test_x.py::test_c")
Behaviour = Callable[[str], str]
KERNEL_GONE = Lost(False, "no report within 80 s; it answered an NMI", "Kernel panic - not syncing: NMI")
NPU_GONE = Lost(True, "the emulated NPU ended with status 70", "")


class ScriptedSession:
    """Runs tests by asking ``behave`` what becomes of each: pass, fail, lost, npu."""

    def __init__(self, release: str, behave: Behaviour, device: bool = True) -> None:
        self.release = release
        self.behave = behave
        self.device = device

    def load_driver(self, timeout: float) -> str:
        return "b1d"

    def run(self, argv: Sequence[str], timeout: float = 60.0) -> tuple[int, str]:
        return (0 if self.device or argv[0] != "test" else 1), "dmesg text"

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
        yield {"event": "suite-start", "tests": list(tests), **common}
        for test in tests:
            yield {"event": "test-start", "id": test, **common}
            what = self.behave(test)
            if what in ("lost", "npu"):
                raise SessionLost(KERNEL_GONE if what == "lost" else NPU_GONE)
            outcome = "pass" if what == "npu-after" else what
            yield {"event": "test-end", "id": test, "outcome": outcome, "text": "", **common}
            if what == "npu-after":
                raise SessionLost(NPU_GONE)
        yield {"event": "suite-end", **common}


class Lab:
    """Counts boots, and hands out what the test says."""

    def __init__(self, behave: Behaviour = lambda test: "pass") -> None:
        self.behave = behave
        self.release = "7.3.4-xdna-key"
        self.device = True
        self.dead_boots: list[Exception] = []
        self.boots = 0

    @contextmanager
    def open(self, folder: Path) -> Iterator[ScriptedSession]:
        self.boots += 1
        if self.dead_boots:
            raise self.dead_boots.pop(0)
        yield ScriptedSession(self.release, self.behave, self.device)


def lane(lab: Lab, folder: Path) -> LaneRun:
    kernel = Kernel("key", "7.3.4-xdna-key", Profile.PLAIN, folder, (), folder, folder)
    return LaneRun(kernel, folder, Question("heap", "", 60.0), lab.open)


def outcomes(run: LaneRun) -> dict[str, Outcome]:
    return {r.id: r.outcome for r in run.results().results}


CELL = Cell("head", Variant())


def test_all_pass_in_one_boot(tmp_path: Path) -> None:
    lab = Lab()
    run = lane(lab, tmp_path)
    run.run(CELL)
    assert lab.boots == 1
    assert set(outcomes(run).values()) == {Outcome.PASS}
    assert {"stage/boot", "stage/probe", KERNEL_LOG, *TESTS} == set(outcomes(run))


def test_a_lost_test_is_lost_and_the_rest_still_runs_in_a_fresh_guest(tmp_path: Path) -> None:
    lab = Lab(lambda test: "lost" if test == TESTS[1] else "pass")
    run = lane(lab, tmp_path)
    run.run(CELL)
    assert lab.boots == 2
    assert [outcomes(run)[t] for t in TESTS] == [Outcome.PASS, Outcome.LOST, Outcome.PASS]


def test_a_dead_npu_is_error_and_the_rest_still_runs(tmp_path: Path) -> None:
    lab = Lab(lambda test: "npu" if test == TESTS[0] else "pass")
    run = lane(lab, tmp_path)
    run.run(CELL)
    assert [outcomes(run)[t] for t in TESTS] == [Outcome.ERROR, Outcome.PASS, Outcome.PASS]
    assert run.results().broken


def test_an_npu_that_dies_after_a_report_puts_that_test_in_doubt(tmp_path: Path) -> None:
    lab = Lab(lambda test: "npu-after" if test == TESTS[0] else "pass")
    run = lane(lab, tmp_path)
    run.run(CELL)
    assert [outcomes(run)[t] for t in TESTS] == [Outcome.ERROR, Outcome.PASS, Outcome.PASS]


def test_every_test_lost_ends(tmp_path: Path) -> None:
    lab = Lab(lambda test: "lost")
    run = lane(lab, tmp_path)
    run.run(CELL)
    assert lab.boots == 3
    assert [outcomes(run)[t] for t in TESTS] == [Outcome.LOST] * 3


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    def stop(test: str) -> str:
        if test == TESTS[1]:
            raise KeyboardInterrupt
        return "pass"

    run = lane(Lab(stop), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run.run(CELL)
    run.close()
    asked: list[str] = []

    def remember(test: str) -> str:
        asked.append(test)
        return "pass"

    again = lane(Lab(remember), tmp_path)
    again.run(CELL)
    assert asked == list(TESTS[1:])
    assert [outcomes(again)[t] for t in TESTS] == [Outcome.PASS] * 3


def test_a_finished_run_boots_nothing(tmp_path: Path) -> None:
    run = lane(Lab(), tmp_path)
    run.run(CELL)
    run.close()
    lab = Lab()
    lane(lab, tmp_path).run(CELL)
    assert lab.boots == 0


def test_repetition_asks_only_its_tests(tmp_path: Path) -> None:
    run = lane(Lab(), tmp_path)
    run.run(Cell("head", Variant(), 2, TESTS[:1]))
    answers = [(r.id, r.attempt) for r in run.results().results if not r.is_stage]
    assert answers == [(KERNEL_LOG, 2), (TESTS[0], 2)]


def test_a_kernel_that_does_not_boot_is_asked_twice_then_lost(tmp_path: Path) -> None:
    lab = Lab()
    lab.dead_boots = [SessionLost(KERNEL_GONE), SessionLost(KERNEL_GONE)]
    run = lane(lab, tmp_path)
    with pytest.raises(Broken):
        run.run(CELL)
    assert outcomes(run) == {"stage/boot": Outcome.LOST}


def test_a_boot_that_stumbles_once_is_forgiven(tmp_path: Path) -> None:
    lab = Lab()
    lab.dead_boots = [InfraError("QEMU did not open the port", transient=True)]
    run = lane(lab, tmp_path)
    run.run(CELL)
    assert set(outcomes(run).values()) == {Outcome.PASS}


def test_qemu_that_never_starts_is_our_error(tmp_path: Path) -> None:
    lab = Lab()
    lab.dead_boots = [InfraError("QEMU ended at once"), InfraError("QEMU ended at once")]
    run = lane(lab, tmp_path)
    with pytest.raises(Broken):
        run.run(CELL)
    assert outcomes(run) == {"stage/boot": Outcome.ERROR}


def test_the_wrong_kernel_is_our_error(tmp_path: Path) -> None:
    lab = Lab()
    lab.release = "7.3.4-xdna-other"
    run = lane(lab, tmp_path)
    with pytest.raises(Broken):
        run.run(CELL)
    assert outcomes(run) == {"stage/boot": Outcome.ERROR}


def test_a_driver_that_makes_no_device_fails_the_probe(tmp_path: Path) -> None:
    lab = Lab()
    lab.device = False
    run = lane(lab, tmp_path)
    with pytest.raises(Broken):
        run.run(CELL)
    assert outcomes(run) == {"stage/boot": Outcome.PASS, "stage/probe": Outcome.LOST}
