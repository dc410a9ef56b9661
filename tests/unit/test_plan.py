# SPDX-License-Identifier: GPL-2.0-only
"""What is to be done is decided purely."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.job import Job, SeriesKnowledge
from harness.model.judge import LaneResults
from harness.model.result import Outcome, Result
from harness.model.series import Patch, Series
from harness.model.tree import Source
from harness.model.variant import Variant
from harness.plan import Cell, check_job, is_merged, plan, repetitions, version_key

KERNEL = Source("debian:7.3", "linux 7.3.4", "7.3.4", "k", Path("/k"))
OLD = Source("debian:7.1", "linux 7.1.13", "7.1.13", "o", Path("/o"))
FIX = Patch("fix", "a", None, "1", ("a.c",), b"")
REVERSE = Patch("reverse", "a", None, "2", ("a.c",), b"")
SERIES = Series("x", "fix", (FIX,))
JOB = Job(kernel="debian:7.3")
KNOWLEDGE = SeriesKnowledge(title="t", message_ids=("m",), merged_in="7.2")


def layers(todo_lanes: object, base: object = None) -> dict[str, tuple[str, tuple[Patch, ...]]]:
    assert isinstance(todo_lanes, tuple)
    return {lane.name: (lane.source.key, lane.layers) for lane in todo_lanes}


def test_series_makes_two_lanes_base_first() -> None:
    todo = plan(JOB, KERNEL, None, SERIES, (), merged=False)
    assert layers(todo.lanes) == {"base": ("k", ()), "head": ("k", (FIX,))}
    assert [cell.lane for cell in todo.cells] == ["base", "head"]


def test_base_patch_is_below_the_series() -> None:
    todo = plan(JOB, KERNEL, None, SERIES, (REVERSE,), merged=False)
    assert layers(todo.lanes) == {"base": ("k", (REVERSE,)), "head": ("k", (REVERSE, FIX))}


def test_base_patch_alone_compares_with_the_kernel_itself() -> None:
    todo = plan(JOB, KERNEL, None, None, (REVERSE,), merged=False)
    assert layers(todo.lanes) == {"base": ("k", (REVERSE,)), "head": ("k", ())}


def test_another_base_is_another_source() -> None:
    todo = plan(JOB, KERNEL, OLD, SERIES, (), merged=False)
    assert layers(todo.lanes) == {"base": ("o", ()), "head": ("k", (FIX,))}


@pytest.mark.parametrize("series", [None, SERIES])
def test_one_lane_says_that_there_is_no_control(series: Series | None) -> None:
    todo = plan(JOB, KERNEL, None, series, (), merged=True)
    assert layers(todo.lanes) == {"head": ("k", ())}
    assert "no control" in todo.notes[0]


@pytest.mark.parametrize(
    ("version", "merged"),
    [("7.2", True), ("7.2.1", True), ("7.3.4", True), ("7.1.13", False), ("6.16.12", False), ("7.10", True)],
)
def test_merged_from_its_release_on(version: str, merged: bool) -> None:
    assert is_merged(KNOWLEDGE, version) is merged
    assert not is_merged(None, version)


def test_versions_compare_as_numbers() -> None:
    assert version_key("7.10.1") > version_key("7.9")
    assert version_key("7.3.0-rc1") == (7, 3, 0)


def test_two_bases_are_refused() -> None:
    with pytest.raises(UsageError):
        check_job(Job(kernel="a", base="b", base_patch="c"))


def test_repetitions_ask_each_lane_what_it_still_owes() -> None:
    test = "test_x.py::test_a"
    base = LaneResults((Result(test, Outcome.PASS),))
    head = LaneResults((Result(test, Outcome.FAIL),))
    variant = Variant()
    assert repetitions(base, head, variant, 2, 5) == [
        Cell("base", variant, 2, (test,)),
        Cell("head", variant, 2, (test,)),
    ]
    head = LaneResults((Result(test, Outcome.FAIL), Result(test, Outcome.FAIL, attempt=2)))
    base = LaneResults((Result(test, Outcome.PASS), Result(test, Outcome.PASS, attempt=2)))
    assert repetitions(base, head, variant, 3, 5) == [Cell("base", variant, 3, (test,))]
    assert repetitions(base, head, variant, 6, 5) == []
    assert repetitions(base, base, variant, 3, 5) == []
