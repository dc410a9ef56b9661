# SPDX-License-Identifier: GPL-2.0-only
"""Runs of two NPUs, read and held against each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.compare import compared
from harness.errors import InfraError
from harness.reporters import comparison

A, B = "test_x.py::test_a", "test_x.py::test_b"
NAMES = ("emulated", "ssh:box")


def run(folder: Path, **outcomes: str) -> Path:
    """A run's folder in which tests a and b ended so; ``lost`` is the lab's trouble."""
    events: list[dict[str, object]] = [{"event": "boot", "boot": 1, "attempt": 1}]
    events.append({"event": "suite-start", "boot": 1, "attempt": 1, "tests": [A, B]})
    for letter, outcome in outcomes.items():
        about = {"boot": 1, "attempt": 1, "id": f"test_x.py::test_{letter}"}
        end = {"event": "test-end", "outcome": outcome, "calls": []}
        lost = {"event": "lost", "outcome": "ERROR", "evidence": "the machine went away"}
        events += [{"event": "test-start", **about}, {**(lost if outcome == "lost" else end), **about}]
    records = folder / "head/variant/results.jsonl"
    records.parent.mkdir(parents=True)
    records.write_text("".join(json.dumps(event) + "\n" for event in events))
    return folder


def test_a_machine_that_goes_away_is_no_difference(tmp_path: Path) -> None:
    whole = [run(tmp_path / name, a="pass", b="pass") for name in "12"]
    found = compared((whole, [run(tmp_path / "3", a="pass", b="lost")]), NAMES)
    assert (found.status, found.asked, found.differences) == (3, 1, ())
    said = comparison.text(found).splitlines()
    assert said[0] == "emulated and ssh:box: 1 tests answered by both, 0 differ"
    assert said[-2:] == ["could not be asked of ssh:box:", f"    {B}: ERROR: the machine went away"]
    assert json.loads(comparison.data(found))["unanswered"] == [
        {"test": B, "target": "ssh:box", "why": "ERROR: the machine went away"}
    ]


def test_what_its_second_run_answered_counts(tmp_path: Path) -> None:
    whole = [run(tmp_path / name, a="pass", b="pass") for name in "12"]
    found = compared((whole, [run(tmp_path / "3", a="pass", b="lost"), run(tmp_path / "4", a="pass", b="pass")]), NAMES)
    assert (found.status, found.asked, found.unanswered) == (0, 2, ())
    assert found.once == ("ssh:box has answered 1 tests only once",)


def test_who_was_asked_once_is_named(tmp_path: Path) -> None:
    one, other = [run(tmp_path / "1", a="pass")], [run(tmp_path / "2", a="pass"), run(tmp_path / "3", a="pass")]
    found = compared((one, other), NAMES)
    assert found.once == ("emulated has answered each only once",)
    assert "emulated has answered each only once: what it does not repeat is not known\n" in comparison.text(found)


def test_a_side_without_a_single_answer_is_the_labs_trouble(tmp_path: Path) -> None:
    one, other = run(tmp_path / "1", a="pass"), run(tmp_path / "2", a="lost", b="lost")
    with pytest.raises(InfraError, match="ssh:box has not answered a single test"):
        compared(([one], [other]), NAMES)
