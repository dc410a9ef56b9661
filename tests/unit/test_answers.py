# SPDX-License-Identifier: GPL-2.0-only
"""Answers are kept only when they are answers, and come back as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import answers
from harness.formats.records import fold
from harness.host.store import Store
from harness.model.kernel import Profile

A, B = "test_x.py::test_a", "test_x.py::test_b"


def events(*outcomes: str, attempt: int = 1, boot: int = 1) -> list[dict[str, Any]]:
    place = {"boot": boot, "attempt": attempt}
    lines: list[dict[str, Any]] = [
        {"event": "stage", "id": "stage/build", "outcome": "PASS"},
        {"event": "stage", "id": "stage/boot", "outcome": "PASS"},
        {"event": "boot", "group": "test_x.py", "start": "driver", **place},
        {"event": "suite-start", "tests": [A, B][: len(outcomes)], **place},
    ]
    for test, outcome in zip((A, B), outcomes, strict=False):
        lines.append({"event": "test-start", "id": test, **place})
        lines.append({"event": "test-end", "id": test, "outcome": outcome, "duration": 2.0, **place})
    return [*lines, {"event": "suite-end", "status": 0, **place}]


def test_a_whole_lane_comes_back_without_the_stages_of_its_own_run(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert answers.find(store, "k") is None
    assert answers.keep(store, "k", events("pass", "fail"), tmp_path / "run")
    found = answers.find(store, "k")
    assert found is not None
    lines, run = found
    assert run == str(tmp_path / "run")
    assert {r.id: r.outcome.value for r in fold(lines).results if not r.is_stage and "::" in r.id} == {
        A: "PASS",
        B: "FAIL",
    }
    assert [e["id"] for e in lines if e["event"] == "stage"] == ["stage/boot"]


@pytest.mark.parametrize(
    "spoiled",
    [
        events("pass", "error"),
        events("pass", "pass")[:-3],
        [*events("pass", "pass"), {"event": "fault", "boot": 1, "attempt": 1, "id": A, "what": "opcode"}],
        [*events("pass", "pass"), {"event": "lost", "boot": 1, "attempt": 1, "id": B, "outcome": "ERROR"}],
        [*events("pass", "pass"), {"event": "stage", "id": "stage/probe", "outcome": "LOST"}],
        [],
    ],
    ids=["error", "cut short", "fault", "lost by us", "failed stage", "nothing"],
)
def test_what_is_no_answer_is_not_kept(tmp_path: Path, spoiled: list[dict[str, Any]]) -> None:
    assert not answers.keep(Store(tmp_path), "k", spoiled, tmp_path)
    assert answers.find(Store(tmp_path), "k") is None


@pytest.mark.parametrize("left", [b"", b'{"event": "su', None])
def test_answers_that_a_power_failure_took_are_asked_again(tmp_path: Path, left: bytes | None) -> None:
    store = Store(tmp_path)
    answers.keep(store, "k", events("pass", "fail"), tmp_path / "run")
    kept = store.path("results", "k") / "events.jsonl"
    if left is None:
        kept.unlink()
    else:
        kept.write_bytes(left)
    assert answers.find(store, "k") is None
    assert answers.keep(store, "k", events("pass", "fail"), tmp_path / "run")
    assert answers.find(store, "k") is not None


def test_repetitions_are_added(tmp_path: Path) -> None:
    store, first = Store(tmp_path), events("pass", "fail")
    answers.keep(store, "k", first, tmp_path / "1")
    answers.keep(store, "k", [*first, *events("pass", attempt=2, boot=2)], tmp_path / "2")
    answers.keep(store, "k", first, tmp_path / "3")
    found = answers.find(store, "k")
    assert found is not None
    assert found[1].endswith("2")
    assert len(fold(found[0]).by_id()[A]) == 2


def test_timings_are_remembered_by_profile(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert answers.timings(store, Profile.PLAIN) == {}
    answers.remember(store, Profile.PLAIN, events("pass", "pass"))
    assert answers.timings(store, Profile.PLAIN) == {"test_x.py": 4.0}
    assert answers.timings(store, Profile.DEBUG) == {}
    (tmp_path / "timings.json").write_text("garbage")
    assert answers.timings(store, Profile.PLAIN) == {}
