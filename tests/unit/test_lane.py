# SPDX-License-Identifier: GPL-2.0-only
"""The loop that replaces lost guests, against a scripted session."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import InfraError
from harness.lane import Broken
from harness.model.result import KERNEL_LOG, Outcome
from harness.model.session import SessionLost, Start
from harness.model.variant import Variant
from harness.plan import Cell
from tests.unit.scripted_lab import CELL, KERNEL_GONE, NPU_GONE, TESTS, Lab, lane, outcomes


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
