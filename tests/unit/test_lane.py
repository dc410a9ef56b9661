# SPDX-License-Identifier: GPL-2.0-only
"""The loop that replaces lost guests, against a scripted session."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InfraError
from harness.formats.records import KERNEL_LOG
from harness.host.snapshot import StateDamaged
from harness.lane import Broken, LaneRun, Question
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
    """Runs tests by asking ``behave`` what becomes of each: pass, fail, lost, npu; or silence, which
    switches lockdep off; or leak, which kmemleak finds."""

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
                yield {"event": "suite-end", **common}
                return
            lost = lost or (LEAK if what == "leak" else "")
            if what == "npu-after":
                raise SessionLost(NPU_GONE)
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


def test_what_the_lab_spoiled_is_asked_once_more_and_that_is_said(tmp_path: Path) -> None:
    asked: list[str] = []

    def stumble(test: str) -> str:
        asked.append(test)
        return (
            "npu" if asked == [TESTS[0]] else "npu-after" if asked.count(TESTS[1]) == 1 and test == TESTS[1] else "pass"
        )

    said: list[str] = []
    run = lane(Lab(stumble), tmp_path, note=said.append)
    run.run(CELL)
    assert asked == [TESTS[0], TESTS[0], TESTS[1], TESTS[1], TESTS[2]]
    assert [outcomes(run)[t] for t in TESTS] == [Outcome.PASS] * 3
    assert not run.results().broken
    assert [line for line in said if "asked once more" in line] == [
        f"head: {test} is asked once more: {NPU_GONE.evidence}" for test in TESTS[:2]
    ]


def test_what_the_kernel_complained_in_is_not_asked_until_it_no_longer_does(tmp_path: Path) -> None:
    gone = replace(NPU_GONE, console="[   12.345678] Kernel panic - not syncing: Oops")
    asked: list[str] = []

    def behave(test: str) -> str:
        asked.append(test)
        if test == TESTS[0]:
            raise SessionLost(gone)
        return "pass"

    run = lane(Lab(behave), tmp_path)
    run.run(CELL)
    assert asked == list(TESTS)
    assert [outcomes(run)[t] for t in TESTS] == [Outcome.ERROR, Outcome.PASS, Outcome.PASS]
    assert next(r for r in run.results().results if r.id == TESTS[0]).findings


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


def test_a_lane_saves_its_kernel_and_its_driver_and_starts_from_there(tmp_path: Path) -> None:
    lab = Lab()
    run = lane(lab, tmp_path, Start.DRIVER)
    run.run(CELL)
    assert lab.starts == [Start.KERNEL, Start.DRIVER]
    assert set(outcomes(run).values()) == {Outcome.PASS}


def test_a_repetition_loads_the_driver_again_and_one_about_the_log_boots(tmp_path: Path) -> None:
    lab = Lab()
    run = lane(lab, tmp_path, Start.DRIVER)
    run.run(Cell("head", Variant(), 2, TESTS[:1]))
    run.run(Cell("head", Variant(), 3, (KERNEL_LOG,)))
    assert lab.starts == [Start.KERNEL, Start.COLD]


def test_a_damaged_state_is_made_anew_once_and_then_given_up(tmp_path: Path) -> None:
    lab = Lab()
    lab.saved = {Start.KERNEL, Start.DRIVER}
    lab.damaged = 1
    run = lane(lab, tmp_path / "once", Start.DRIVER)
    run.run(CELL)
    assert lab.starts == [Start.DRIVER, Start.KERNEL, Start.DRIVER]
    assert set(outcomes(run).values()) == {Outcome.PASS}

    hopeless = Lab()
    hopeless.damaged = 100
    run = lane(hopeless, tmp_path / "never", Start.DRIVER)
    run.run(CELL)
    assert hopeless.starts[-1] is Start.COLD
    assert set(outcomes(run).values()) == {Outcome.PASS}


def test_a_full_disk_while_saving_means_cold_boots_and_no_verdict(tmp_path: Path) -> None:
    lab = Lab()
    lab.cannot_save = "only 3 MiB are free"
    notes: list[str] = []
    run = lane(lab, tmp_path, Start.DRIVER, note=notes.append)
    run.run(CELL)
    assert lab.starts == [Start.COLD]
    assert "only 3 MiB are free" in notes[0]
    assert set(outcomes(run).values()) == {Outcome.PASS}


def test_a_driver_that_never_suspends_is_loaded_in_each_guest(tmp_path: Path) -> None:
    lab = Lab()
    lab.idle = False
    run = lane(lab, tmp_path, Start.DRIVER)
    run.run(CELL)
    assert lab.starts == [Start.KERNEL, Start.KERNEL]
    assert set(outcomes(run).values()) == {Outcome.PASS}


def test_a_kernel_that_does_not_boot_is_lost_also_where_it_was_to_be_saved(tmp_path: Path) -> None:
    lab = Lab()
    lab.dead_boots = [SessionLost(KERNEL_GONE), SessionLost(KERNEL_GONE)]
    run = lane(lab, tmp_path, Start.DRIVER)
    with pytest.raises(Broken):
        run.run(CELL)
    assert outcomes(run) == {"stage/boot": Outcome.LOST}


def test_a_restored_guest_with_another_driver_is_made_anew(tmp_path: Path) -> None:
    lab = Lab()
    lab.saved = {Start.KERNEL, Start.DRIVER}
    run = lane(lab, tmp_path, Start.DRIVER)
    run.starts.module = replace(run.module, build_id="other")
    with pytest.raises(Broken):
        run.run(CELL)
    assert lab.starts == [Start.DRIVER, Start.KERNEL, Start.KERNEL, Start.COLD, Start.COLD]
    assert outcomes(run)["stage/probe"] is Outcome.ERROR


def test_groups_of_one_lane_keep_their_tests_apart(tmp_path: Path) -> None:
    lab = Lab()
    run = lane(lab, tmp_path)
    for group in ("test_x.py", "test_y.py"):
        run.run(Cell("head", Variant(), group=group))
    assert lab.boots == 2


def test_a_lane_that_is_stopped_starts_no_other_guest(tmp_path: Path) -> None:
    def behave(test: str) -> str:
        run.stop()
        return "npu"

    lab = Lab(behave)
    run = lane(lab, tmp_path)
    with pytest.raises(Broken):
        run.run(CELL)
    assert (lab.boots, lab.ended) == (1, True)


def test_after_a_detector_went_silent_the_rest_runs_in_a_fresh_guest(tmp_path: Path) -> None:
    lab = Lab(lambda test: "silence" if test.endswith("_a") else "pass")
    run = lane(lab, tmp_path)
    run.run(CELL)
    assert lab.boots == 2
    assert [outcomes(run)[test] for test in TESTS] == [Outcome.PASS] * 3


def test_a_target_without_fresh_guests_goes_on_without_the_detector(tmp_path: Path) -> None:
    lab = Lab(lambda test: "silence" if test.endswith("_a") else "pass")
    lab.fresh = False
    run = lane(lab, tmp_path)
    run.run(CELL)
    assert lab.boots == 1
    assert len([test for test in TESTS if test in outcomes(run)]) == 3


def test_lost_memory_is_given_to_the_test_that_loses_it_alone(tmp_path: Path) -> None:
    lab = Lab(lambda test: "leak" if test.endswith("_b") else "pass")
    run = lane(lab, tmp_path, kmemleak=True)
    run.run(CELL)
    found = {r.id: [f.fingerprint for f in r.findings] for r in run.results().results if r.findings}
    assert found == {TESTS[1]: ["KMEMLEAK:aie2_hwctx_init"]}
    assert outcomes(run)[TESTS[1]] is Outcome.FAIL
    assert lab.boots > 2
    before = lab.boots
    run.run(CELL)
    assert lab.boots == before, "what is named is not asked again"


def test_nobody_looks_for_lost_memory_where_it_is_not_asked(tmp_path: Path) -> None:
    lab = Lab(lambda test: "leak")
    run = lane(lab, tmp_path, kmemleak=True)
    run.run(Cell("head", Variant(), look=False))
    assert lab.boots == 1
    assert not [r for r in run.results().results if r.findings]


def test_lost_memory_that_nobody_loses_again_is_said_to_be_somebodys(tmp_path: Path) -> None:
    asked: list[str] = []

    def once(test: str) -> str:
        asked.append(test)
        return "leak" if asked.count(test) == 2 and test.endswith("_b") else "pass"

    run = lane(Lab(once), tmp_path, kmemleak=True)
    run.run(CELL)
    (found,) = [r for r in run.results().results if r.findings]
    assert found.id == TESTS[-1]
    assert "one of these tests lost it, none of them when asked alone" in found.evidence


def test_after_a_test_that_spoiled_its_guest_the_rest_gets_a_fresh_one(tmp_path: Path) -> None:
    lab = Lab(lambda test: "spoil" if test.endswith("_b") else "pass")
    run = lane(lab, tmp_path)
    run.run(Cell("head", Variant()))
    assert lab.boots == 2
    assert [outcomes(run)[test] for test in TESTS] == [Outcome.PASS, Outcome.FAIL, Outcome.PASS]


def test_after_a_failure_the_rest_gets_a_fresh_guest_if_that_is_asked(tmp_path: Path) -> None:
    lab = Lab(lambda test: "fail" if test.endswith("_b") else "pass")
    run = lane(lab, tmp_path, halting=True)
    run.run(Cell("head", Variant()))
    assert lab.boots == 2
    assert [outcomes(run)[test] for test in TESTS] == [Outcome.PASS, Outcome.FAIL, Outcome.PASS]


@pytest.mark.parametrize("what", ["fail", "lost"])
def test_no_fresh_guest_when_enough_is_known(tmp_path: Path, what: str) -> None:
    lab = Lab(lambda test: what if test.endswith("_b") else "pass")
    run = lane(lab, tmp_path, halting=True)
    run.run(Cell("head", Variant()), enough=lambda: True)
    assert lab.boots == 1
    assert TESTS[2] not in outcomes(run)


def test_a_cell_says_from_what_its_guests_start_and_they_are_visited_alive(tmp_path: Path) -> None:
    lab = Lab(lambda test: "fail" if test == TESTS[1] else "pass")
    asked = lane(lab, tmp_path, Start.DRIVER)
    seen: list[list[object]] = []
    asked.visit = lambda session, events: seen.append([e["id"] for e in events if e["event"] == "test-end"])
    asked.run(Cell("head", Variant(), 1, (TESTS[1],), start=Start.KERNEL))
    assert (lab.starts, seen) == ([Start.KERNEL], [[TESTS[1]]])


def test_a_lost_guest_is_not_visited(tmp_path: Path) -> None:
    asked = lane(Lab(lambda test: "lost"), tmp_path)
    asked.visit = lambda session, events: pytest.fail("there is no guest")
    asked.run(Cell("head", Variant(), 1, (TESTS[0],)))
    assert outcomes(asked)[TESTS[0]] is Outcome.LOST
