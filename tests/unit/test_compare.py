# SPDX-License-Identifier: GPL-2.0-only
"""Runs of two NPUs, read and held against each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.compare import Sides, compared, read, sides, unlike
from harness.errors import InfraError, UsageError
from harness.job import Job, write_job
from harness.model.variant import AddressMode
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


SAID = {"kernel": "debian:7.3"}


def traced(folder: Path, **asked: object) -> str:
    folder.mkdir()
    (folder / "job.toml").write_text(write_job(Job.model_validate({**SAID, "traced": True, **asked})))
    return str(folder)


def jobs(both: Sides) -> list[Job]:
    return [one for one in both if isinstance(one, Job)]


@pytest.mark.parametrize("texts", [("emulated", "passthrough:c5:00.1"), ("passthrough:c5:00.1", "emulated:npu5")])
def test_beside_a_lent_npu_the_address_mode_is_its(texts: tuple[str, str]) -> None:
    both = sides(texts, SAID)
    assert [job.address_mode for job in jobs(both)] == [AddressMode.CARVEOUT] * 2
    assert not any(row.startswith("address_mode") for row in unlike(both))


def test_a_lent_npu_cannot_be_asked_otherwise() -> None:
    with pytest.raises(UsageError, match="the address mode is carveout"):
        sides(("emulated", "passthrough:c5:00.1"), {**SAID, "address_mode": "sva"})


def test_who_stands_beside_a_run_is_asked_as_it_was(tmp_path: Path) -> None:
    asked = {"npu": "npu1", "address_mode": "force-iova", "quick": True, "select": "e01", "suite": "mode"}
    folder = traced(tmp_path / "run", **asked)
    both = sides(("emulated", folder), SAID)
    assert jobs(both)[0].model_dump(mode="json", include=set(asked)) == asked
    assert unlike(both) == ()
    both = sides(("emulated", folder), {**SAID, "select": "e02"})
    assert unlike(both) == ("select: e02 | e01",)


def test_what_is_asked_otherwise_is_said(tmp_path: Path) -> None:
    first = traced(tmp_path / "1", profile="debug", edits=["a.toml"])
    second = traced(tmp_path / "2", kernel="debian:7.2", quick=True, address_mode="carveout")
    found = unlike(sides((first, second), {}))
    assert found == (
        "kernel: debian:7.3 | debian:7.2",
        "edits: a.toml | none",
        "profile: debug | plain",
        "address_mode: sva | carveout",
        "quick: no | yes",
    )
    runs = [run(tmp_path / "3", a="pass")], [run(tmp_path / "4", a="pass")]
    told = compared(runs, NAMES, found)
    assert "not asked the same, address_mode: sva | carveout\n" in comparison.text(told)
    assert json.loads(comparison.data(told))["unlike"] == list(found)
    assert told.status == 0


def test_two_generations_are_named_as_such() -> None:
    assert unlike(sides(("emulated", "emulated:npu5"), SAID)) == ("npu: npu4 | npu5",)


def test_a_folder_beside_a_lent_npu_does_not_change_its_mode(tmp_path: Path) -> None:
    both = sides((traced(tmp_path / "run", npu="npu1"), "passthrough:c5:00.1"), SAID)
    assert (jobs(both)[0].npu, unlike(both)) == ("npu1", ("address_mode: sva | carveout",))


def test_a_machine_beside_a_lent_npu_has_no_carveout() -> None:
    both = sides(("ssh:box", "passthrough:c5:00.1"), SAID)
    assert unlike(both) == ("address_mode: sva | carveout",)


def test_of_a_test_that_the_lab_spoiled_the_calls_of_its_second_asking_count(tmp_path: Path) -> None:
    folder = run(tmp_path, a="pass", b="pass")
    about = {"boot": 1, "attempt": 1, "id": A}
    events = [
        {"event": "fault", "what": "it slept", **about},
        {"event": "test-start", **about},
        {"event": "test-end", "outcome": "pass", "calls": [["CreateBo", -12]], **about},
    ]
    with (folder / "head/variant/results.jsonl").open("a") as stream:
        stream.writelines(json.dumps(event) + "\n" for event in events)
    assert read(folder)[A].calls == (("CreateBo", -12),)
