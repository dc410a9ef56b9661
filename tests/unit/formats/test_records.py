# SPDX-License-Identifier: GPL-2.0-only
"""Events of a lane become results; what a test announced and never said is never lost."""

from __future__ import annotations

from typing import Any

import pytest

from harness.formats.events import read_events, reported
from harness.formats.records import fold
from harness.model.judge import LaneResults
from harness.model.result import KERNEL_LOG, Outcome, Result

A, B = "test_x.py::test_a", "test_x.py::test_b"
WARN = [
    "------------[ cut here ]------------",
    "WARNING: CPU: 1 PID: 77 at drivers/accel/amdxdna/amdxdna_gem.c:100 amdxdna_gem_free+0x1f/0x90 [amdxdna]",
    "Call Trace:",
    " <TASK>",
    " amdxdna_gem_free+0x1f/0x90 [amdxdna]",
    " drm_gem_object_release_handle+0x5c/0x90",
    " </TASK>",
    "---[ end trace 0000000000000000 ]---",
]


def kmsg(*lines: str) -> list[dict[str, Any]]:
    return [{"seq": n, "level": 4, "facility": 0, "time": float(n), "text": line} for n, line in enumerate(lines)]


def start(test: str, *lines: str, attempt: int = 1) -> dict[str, Any]:
    return {"event": "test-start", "boot": 1, "attempt": attempt, "id": test, "kmsg": kmsg(*lines)}


def end(test: str, outcome: str = "pass", *lines: str, attempt: int = 1) -> dict[str, Any]:
    return {
        "event": "test-end",
        "boot": 1,
        "attempt": attempt,
        "id": test,
        "outcome": outcome,
        "text": "",
        "duration": 0.5,
        "kmsg": kmsg(*lines),
    }


def suite(*tests: str) -> dict[str, Any]:
    return {"event": "suite-start", "boot": 1, "attempt": 1, "tests": list(tests)}


def outcomes(events: list[dict[str, Any]]) -> dict[str, Outcome]:
    return {r.id: r.outcome for r in fold(events).results if r.id != KERNEL_LOG}


def answers(lane: LaneResults) -> list[Result]:
    return [r for r in lane.results if r.id != KERNEL_LOG]


def test_pass_and_fail() -> None:
    assert outcomes([suite(A, B), start(A), end(A), start(B), end(B, "fail")]) == {
        A: Outcome.PASS,
        B: Outcome.FAIL,
    }


def test_a_splat_fails_the_test_that_caused_it_though_it_passed() -> None:
    lane = fold([suite(A, B), start(A), end(A, "pass", *WARN), start(B), end(B)])
    assert [r.outcome for r in answers(lane)] == [Outcome.FAIL, Outcome.PASS]
    assert answers(lane)[0].only_findings
    assert "amdxdna_gem_free" in answers(lane)[0].evidence


def test_a_splat_between_two_tests_belongs_to_the_one_before() -> None:
    assert outcomes([suite(A, B), start(A), end(A), start(B, *WARN), end(B)]) == {
        A: Outcome.FAIL,
        B: Outcome.PASS,
    }


def test_a_splat_after_the_last_test_belongs_to_it() -> None:
    events = [
        suite(A),
        start(A),
        end(A),
        {"event": "suite-end", "boot": 1, "attempt": 1, "kmsg": kmsg(*WARN)},
    ]
    assert outcomes(events) == {A: Outcome.FAIL}


def test_a_splat_before_the_first_test_is_the_kernels_own() -> None:
    events = [suite(A), start(A, *WARN), end(A)]
    assert outcomes(events) == {A: Outcome.PASS}
    assert fold(events).results[0].outcome is Outcome.FAIL
    booted = {**suite(A), "kmsg": kmsg(*WARN)}
    assert fold([booted, start(A), end(A)]).results[0].outcome is Outcome.FAIL
    assert fold([suite(A), start(A), end(A)]).results[0] == Result(KERNEL_LOG, Outcome.PASS)


def test_lost_and_error_come_from_the_host() -> None:
    lost = {
        "event": "lost",
        "boot": 1,
        "attempt": 1,
        "id": A,
        "outcome": "LOST",
        "evidence": "panic",
        "console": "",
    }
    error = {**lost, "id": B, "outcome": "ERROR"}
    lane = fold([suite(A, B), start(A), lost, {"event": "boot", "boot": 2, "attempt": 1}, start(B), error])
    assert [r.outcome for r in answers(lane)] == [Outcome.LOST, Outcome.ERROR]
    assert lane.broken


def test_announced_and_cut_off_is_our_error_not_lost() -> None:
    lane = fold([suite(A, B), start(A)])
    assert [(r.id, r.outcome) for r in answers(lane)] == [(A, Outcome.ERROR)]
    assert lane.broken
    assert lane.planned == {A, B}


def test_a_fault_of_the_emulation_turns_the_running_test_into_error() -> None:
    fault = {"event": "fault", "boot": 1, "attempt": 1, "id": A, "what": "unknown opcode 0x1ff"}
    lane = fold([suite(A), start(A), end(A), fault])
    assert answers(lane)[0].outcome is Outcome.ERROR
    assert "unknown opcode 0x1ff" in answers(lane)[0].evidence


def test_what_was_asked_again_after_our_error_counts() -> None:
    lost = {
        "event": "lost",
        "boot": 1,
        "attempt": 1,
        "id": A,
        "outcome": "ERROR",
        "evidence": "",
        "console": "",
    }
    again = [{"event": "boot", "boot": 2, "attempt": 1}, start(A), end(A)]
    lane = fold([suite(A), start(A), lost, *again])
    assert [r.outcome for r in answers(lane)] == [Outcome.PASS]
    assert not lane.broken


def test_a_stage_asked_again_counts_with_its_last_answer() -> None:
    stage = {"event": "stage", "id": "stage/build", "outcome": "ERROR", "evidence": ""}
    assert outcomes([stage, {**stage, "outcome": "PASS"}]) == {"stage/build": Outcome.PASS}


def test_a_suite_that_ran_nothing_is_an_error() -> None:
    lane = fold([suite(), {"event": "suite-end", "boot": 1, "attempt": 1, "status": 5, "text": ""}])
    assert [(r.id, r.outcome) for r in answers(lane)] == [("stage/suite", Outcome.ERROR)]
    lane = fold([suite(), {"event": "suite-end", "boot": 1, "attempt": 1, "status": 2, "text": "ImportError: x"}])
    assert "ImportError: x" in answers(lane)[0].evidence


def test_a_pass_with_lost_kernel_messages_is_no_pass() -> None:
    assert outcomes([suite(A), start(A), {**end(A), "kmsg_lost": 3}]) == {A: Outcome.ERROR}


def test_a_splat_beside_lost_kernel_messages_is_certain_and_excused_by_nothing() -> None:
    lane = fold([suite(A), start(A), {**end(A, "pass", *WARN), "kmsg_lost": 3}])
    assert answers(lane)[0].outcome is Outcome.FAIL
    assert not answers(lane)[0].only_findings, "a known failure would hide what nobody read"


def test_attempts_are_kept_apart() -> None:
    lane = fold([suite(A), start(A), end(A, "fail"), start(A, attempt=2), end(A, attempt=2)])
    assert [(r.attempt, r.outcome) for r in answers(lane)] == [(1, Outcome.FAIL), (2, Outcome.PASS)]


def test_reported_leaves_out_what_could_not_be_asked() -> None:
    lost = {"event": "lost", "boot": 1, "attempt": 1, "id": B, "outcome": "ERROR"}
    assert reported([end(A), lost], 1) == {A}
    assert reported([end(A)], 2) == set()
    assert reported([end(A), {"event": "fault", "boot": 1, "attempt": 1, "id": A, "what": "died"}], 1) == set()
    assert reported([{**lost, "console": "[   12.345678] Kernel panic - not syncing: Oops"}], 1) == {B}, (
        "an answer would hide what the kernel said"
    )


def test_a_line_cut_off_by_a_kill_is_dropped_and_another_is_an_error() -> None:
    assert read_events('{"event": "boot"}\n{"eve') == [{"event": "boot"}]
    with pytest.raises(ValueError, match="line 1"):
        read_events('{"eve\n{"event": "boot"}\n')


def test_more_than_before_fails_a_test_that_passed() -> None:
    counters = {"before": {"pages.pinned": 0}, "after": {"pages.pinned": 4}}
    start = {"event": "test-start", "boot": 1, "attempt": 1, "id": "t"}
    end = {**start, "event": "test-end", "outcome": "pass", "duration": 0.1, "counters": counters}
    (leaked,) = fold([start, end]).results
    assert (leaked.outcome, leaked.only_findings) == (Outcome.FAIL, True)
    assert [f.fingerprint for f in leaked.findings] == ["LEAK:pinned"]
    (clean,) = fold([start, {**end, "counters": {**counters, "after": counters["before"]}}]).results
    assert clean.outcome is Outcome.PASS


def test_a_context_that_stays_in_firmware_is_a_leak_of_the_test() -> None:
    began = {**start(A), "outside": {"npu.contexts": 0}}
    (result,) = answers(fold([suite(A), began, {**end(A), "outside": {"npu.contexts": 1}}]))
    assert [finding.fingerprint for finding in result.findings] == ["LEAK:firmware-context"]
    assert result.outcome is Outcome.FAIL


def test_a_test_that_began_without_lockdep_says_so() -> None:
    (result,) = answers(fold([suite(A), start(A), {**end(A), "disarmed": ["lockdep"]}]))
    assert (result.outcome, result.disarmed) == (Outcome.PASS, ("lockdep",))
