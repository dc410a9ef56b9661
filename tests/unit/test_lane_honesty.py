# SPDX-License-Identifier: GPL-2.0-only
"""What must not make a green lane: a kernel that dies where no test runs, a lane that we cut short, another driver's
answers, a look for lost memory that never was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InfraError, UsageError
from harness.host.recorder import Recorder
from harness.lane import Broken
from harness.model.judge import LaneResults, Verdict, judge
from harness.model.result import KERNEL_LOG, Outcome
from harness.model.session import Lost, SessionLost, Start, SuiteRequest
from harness.model.variant import Variant
from harness.plan import Cell
from harness.starts import NotUp
from tests.unit.scripted_lab import CELL, KERNEL_GONE, NPU_GONE, TESTS, Lab, ScriptedSession, lane, outcomes

PANIC = Lost(False, "no hello within 90 s", "[    9.000000] Kernel panic - not syncing: Fatal exception")
SILENT = Lost(False, "no hello within 90 s", "")


def test_a_kernel_that_dies_behind_a_test_takes_that_test_along(tmp_path: Path) -> None:
    victims = {TESTS[0], TESTS[2]}
    run = lane(Lab(lambda test: "lost-after" if test in victims else "pass"), tmp_path)
    run.run(CELL)
    answers = [(r.id, r.outcome) for r in run.results().results if r.id in TESTS]
    assert sorted(answers) == [(test, Outcome.LOST if test in victims else Outcome.PASS) for test in TESTS]


def test_a_kernel_that_panics_before_its_first_test_once_is_asked_again_about_that(tmp_path: Path) -> None:
    lab = Lab()
    lab.dead_boots = [SessionLost(PANIC)]
    run = lane(lab, tmp_path)
    run.run(CELL)
    assert outcomes(run)[KERNEL_LOG] is Outcome.LOST
    assert {outcomes(run)[test] for test in (*TESTS, "stage/boot")} == {Outcome.PASS}
    run.run(Cell("head", Variant(), 2, (KERNEL_LOG,)))
    assert [r.outcome for r in run.results().results if r.id == KERNEL_LOG] == [Outcome.LOST, Outcome.PASS]


def test_a_kernel_that_dies_between_its_driver_and_its_first_test_fails_a_stage_that_base_has(tmp_path: Path) -> None:
    class Dies(Lab):
        @contextmanager
        def open(self, folder: Path, start: Start) -> Iterator[ScriptedSession]:
            with super().open(folder, start) as session:
                session.suite = dies  # type: ignore[method-assign]
                yield session

    def dies(request: SuiteRequest) -> Iterator[Mapping[str, Any]]:
        yield {"event": "suite-start", "tests": list(TESTS), "boot": request.boot, "attempt": request.attempt}
        raise SessionLost(PANIC)

    run = lane(Dies(), tmp_path)
    with pytest.raises(Broken):
        run.run(CELL)
    assert outcomes(run)["stage/probe"] is Outcome.LOST


def test_one_that_says_nothing_may_be_the_labs_and_is_told(tmp_path: Path) -> None:
    lab, notes = Lab(), list[str]()
    lab.dead_boots = [SessionLost(SILENT)]
    run = lane(lab, tmp_path, note=notes.append)
    run.run(CELL)
    assert set(outcomes(run).values()) == {Outcome.PASS}
    assert notes == ["head: no hello within 90 s; another guest came up"]


def test_a_stumble_of_the_lab_takes_no_try_from_the_kernel(tmp_path: Path) -> None:
    lab = Lab()
    lab.dead_boots = [InfraError("no space for an initramfs"), SessionLost(SILENT)]
    run = lane(lab, tmp_path)
    run.run(CELL)
    assert outcomes(run)["stage/boot"] is Outcome.PASS


def test_a_lane_that_we_end_while_its_guest_boots_is_broken_until_it_is_taken_up_again(tmp_path: Path) -> None:
    def behave(test: str) -> str:
        run.stop()
        return "lost"

    run = lane(Lab(behave), tmp_path)
    with pytest.raises(Broken):
        run.run(CELL)
    assert run.results().broken
    run.close()
    again = lane(Lab(), tmp_path)
    again.run(CELL)
    assert not again.results().broken


def test_records_are_of_one_driver(tmp_path: Path) -> None:
    run = lane(Lab(), tmp_path)
    run.claim()
    run.claim()
    run.close()
    again = lane(Lab(), tmp_path)
    again.claim()
    for name in ("key", "digest"):
        object.__setattr__(again.module, name, "other")
        if name == "key":
            again.claim()
    with pytest.raises(UsageError, match="answers of another driver"):
        again.claim()


def test_a_look_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    asked: list[str] = []

    def behave(test: str) -> str:
        asked.append(test)
        if len(asked) == 8:  # the suite, all of it looked at, then in the second half
            raise KeyboardInterrupt
        return "leak" if test == TESTS[1] else "pass"

    run = lane(Lab(behave), tmp_path, kmemleak=True)
    with pytest.raises(KeyboardInterrupt):
        run.run(CELL)
    assert not run.answered([CELL])
    run.close()
    lab = Lab(lambda test: "leak" if test == TESTS[1] else "pass")
    again = lane(lab, tmp_path, kmemleak=True)
    again.run(CELL)
    assert again.answered([CELL])
    assert {r.id for r in again.results().results if r.findings} == {TESTS[1]}
    assert lab.boots < 5, "what was looked at is not looked at again"


def test_what_a_spoiled_guest_did_not_get_to_is_looked_at_too(tmp_path: Path) -> None:
    lab = Lab(lambda test: "spoil" if test == TESTS[0] else "leak" if test == TESTS[2] else "pass")
    run = lane(lab, tmp_path, kmemleak=True)
    run.run(CELL)
    assert {r.id for r in run.results().results if r.findings} == {TESTS[2]}


def test_a_kernel_that_dies_while_it_is_looked_at_has_died(tmp_path: Path) -> None:
    asked: list[str] = []

    def behave(test: str) -> str:
        asked.append(test)
        return "lost" if asked.count(TESTS[1]) == 2 else "pass"

    notes: list[str] = []
    run = lane(Lab(behave), tmp_path, kmemleak=True, note=notes.append)
    run.run(CELL)
    answers = [(r.id, r.outcome) for r in run.results().results if r.id in TESTS]
    assert sorted(answers) == [(t, Outcome.LOST if t == TESTS[1] else Outcome.PASS) for t in TESTS]
    assert notes == [f"head: kmemleak did not look at the suite: {KERNEL_GONE.evidence}"]
    assert not run.answered([CELL])


@pytest.mark.parametrize("what", ["npu", "npu-after"])
def test_a_stumble_of_the_lab_while_it_looks_spoils_no_answer(tmp_path: Path, what: str) -> None:
    asked: list[str] = []

    def behave(test: str) -> str:
        asked.append(test)
        return what if asked.count(TESTS[1]) == 2 else "pass"

    run = lane(Lab(behave), tmp_path, kmemleak=True)
    run.run(CELL)
    assert [r.outcome for r in run.results().results if r.id in TESTS] == [Outcome.PASS] * 3
    unseen = outcomes(run)["kmemleak/suite"]
    assert unseen is Outcome.ERROR, "nobody knows what memory they lose"
    assert judge(
        LaneResults(tuple(r for r in run.results().results if "kmemleak" not in r.id)), run.results()
    ).verdict == (Verdict.UNKNOWN)
    run.close()
    behaves = lane(Lab(), tmp_path, kmemleak=True)
    behaves.claim()
    behaves.run(CELL)
    assert "kmemleak/suite" not in outcomes(behaves)
    assert not behaves.results().broken


def test_memory_that_was_lost_before_the_first_test_can_be_looked_for_alone(tmp_path: Path) -> None:
    lab = Lab()
    run = lane(lab, tmp_path, kmemleak=True)
    run.run(Cell("head", Variant(), 2, (KERNEL_LOG,)))
    assert lab.boots == 2


def test_answers_are_taken_over_once_and_whole(tmp_path: Path) -> None:
    first = lane(Lab(), tmp_path / "a")
    first.run(CELL)
    second = lane(Lab(), tmp_path / "b")
    for _ in range(2):
        second.reuse(first.events, "a")
    second.close()
    kept = Recorder(tmp_path / "b" / "results.jsonl").events
    assert kept == [{"event": "reused", "run": "a"}, *first.events]
    assert not list((tmp_path / "b").glob(".*"))


@pytest.mark.parametrize(("died", "outcome"), [(True, Outcome.LOST), (False, Outcome.FAIL)])
def test_what_a_kernel_does_behind_its_suite_is_its_last_tests(tmp_path: Path, died: bool, outcome: Outcome) -> None:
    run = lane(Lab(), tmp_path)
    run.run(CELL)
    run.run(Cell("head", Variant(), 2, TESTS[:1]))
    run.late({"boot": 1, "attempt": 1, "id": TESTS[2]}, PANIC, died)
    assert [outcomes(run)[test] for test in TESTS] == [Outcome.PASS, Outcome.PASS, outcome]
    run.late({"boot": 2, "attempt": 2, "id": TESTS[0]}, PANIC, died)
    assert [r.outcome for r in run.results().results if r.id == TESTS[0]] == [Outcome.PASS, outcome]


def test_what_base_said_once_before_its_first_test_does_not_excuse_the_head(tmp_path: Path) -> None:
    lab, notes = Lab(), list[str]()
    lab.dead_boots = [SessionLost(PANIC)]
    run = lane(lab, tmp_path, note=notes.append)
    run.run(Cell("base", Variant()))
    assert outcomes(run)[KERNEL_LOG] is Outcome.PASS
    assert len(notes) == 1


class DiesTwice(Lab):
    """Whose guests get into the suite, and lose their NPU before its first test."""

    @contextmanager
    def open(self, folder: Path, start: Start) -> Iterator[ScriptedSession]:
        with super().open(folder, start) as session:
            session.suite = _loses_its_npu  # type: ignore[method-assign]
            yield session


def _loses_its_npu(request: SuiteRequest) -> Iterator[Mapping[str, Any]]:
    yield {"event": "suite-start", "tests": list(TESTS), "boot": request.boot, "attempt": request.attempt}
    raise SessionLost(NPU_GONE)


class ThenNoDisk(Lab):
    """Whose first guest loses a test, and after which none starts any more."""

    @contextmanager
    def open(self, folder: Path, start: Start) -> Iterator[ScriptedSession]:
        with super().open(folder, start) as session:
            self.dead_boots = [InfraError("no disk")] * 2
            yield session


@pytest.mark.parametrize(("lab", "stage"), [(DiesTwice(), "stage/suite"), (ThenNoDisk(), "stage/boot")])
def test_what_the_lab_could_not_do_is_tried_anew_by_who_goes_on(lab: Lab, stage: str, tmp_path: Path) -> None:
    """A stage has no repetition: the ERROR of an earlier process stayed for ever."""
    lab.behave = lambda test: "lost" if test == TESTS[0] else "pass"
    run = lane(lab, tmp_path)
    run.claim()
    with pytest.raises(Broken):
        run.run(CELL)
    assert outcomes(run)[stage] is Outcome.ERROR
    assert run.results().broken
    run.close()
    again = lane(Lab(), tmp_path)
    again.claim()
    again.run(CELL)
    assert not again.results().broken
    assert Outcome.ERROR not in outcomes(again).values()


def test_a_stage_that_was_given_up_is_not_mended_by_a_neighbour(tmp_path: Path) -> None:
    """Groups of a lane run side by side; those of a guest that did not come up were not asked."""
    run = lane(Lab(), tmp_path)
    run.stage("boot", "PASS")
    run._give_up(NotUp("boot", Lost(True, "no memory for QEMU", "")))
    run.stage("boot", "PASS")
    assert outcomes(run)["stage/boot"] is Outcome.ERROR
    assert run.results().broken
    run.close()
    again = lane(Lab(), tmp_path)
    again.stage("boot", "PASS")
    assert outcomes(again)["stage/boot"] is Outcome.PASS


def test_a_suite_that_does_not_import_is_not_forgotten(tmp_path: Path) -> None:
    """All tests that could be collected have answered: nobody asks anything any more."""
    run = lane(Lab(), tmp_path)
    run.claim()
    run.run(CELL)
    run.records.add({"event": "suite-end", "boot": 1, "attempt": 1, "status": 2, "text": "ImportError"})
    run.close()
    again = lane(Lab(), tmp_path)
    again.claim()
    again.run(CELL)
    assert outcomes(again)["stage/suite"] is Outcome.ERROR
    assert again.results().broken


@pytest.mark.parametrize(("attempt", "counts"), [(1, False), (2, True)])
def test_what_base_says_when_it_is_asked_again_may_excuse_the_head(attempt: int, counts: bool, tmp_path: Path) -> None:
    lab = Lab()
    lab.dead_boots = [SessionLost(PANIC)]
    run = lane(lab, tmp_path)
    run.run(Cell("base", Variant(), attempt, TESTS))
    assert (outcomes(run)[KERNEL_LOG] is Outcome.LOST) is counts


def test_who_asks_anew_may_hear_something_else(tmp_path: Path) -> None:
    """A stage that was given up stays so for its lane, but not for who asks the same again and again (repro)."""
    lab = Lab()
    lab.dead_boots = [SessionLost(PANIC)] * 2
    run = lane(lab, tmp_path)
    with pytest.raises(Broken):
        run.run(Cell("head", Variant(), 1, (KERNEL_LOG,)))
    assert outcomes(run)["stage/boot"] is Outcome.LOST
    run.try_anew()
    run.run(Cell("head", Variant(), 2, (KERNEL_LOG,)))
    assert outcomes(run)["stage/boot"] is Outcome.PASS


def test_a_look_at_more_tests_covers_fewer(tmp_path: Path) -> None:
    """What the lab had spoiled is asked by who goes on, and looked at together with what could not be before."""
    run = lane(Lab(), tmp_path, kmemleak=True)
    run.run(CELL)
    run.records.add({"event": "unlooked", "attempt": 1, "group": "", "tests": list(TESTS[:2]), "why": "npu"})
    assert outcomes(run)["kmemleak/suite"] is Outcome.ERROR
    boot = {"event": "boot", "attempt": 1, "group": "", "start": "cold", "naming": True, "tests": list(TESTS)}
    number = run.records.add_boot(boot)
    place = {"boot": number, "attempt": 1}
    for test in TESTS[:1]:
        run.records.add({"event": "test-start", "id": test, **place})
    run.records.add({"event": "suite-end", "unreferenced": "", "since": 1, **place})
    assert outcomes(run)["kmemleak/suite"] is Outcome.ERROR, "it ended before it had run them"
    number = run.records.add_boot(boot)
    place = {"boot": number, "attempt": 1}
    for test in TESTS:
        run.records.add({"event": "test-start", "id": test, **place})
    run.records.add({"event": "suite-end", "unreferenced": "", "since": 1, **place})
    assert "kmemleak/suite" not in outcomes(run)
