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
from harness.plan import (
    Cell,
    check_job,
    confirmations,
    doubts,
    first_cells,
    is_merged,
    longest_first,
    looked_at,
    plan,
    repetitions,
    spread,
    version_key,
    workers,
)

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


def test_without_a_base_what_failed_is_asked_again() -> None:
    one, other = "test_x.py::test_a", "test_x.py::test_b"
    once = (Result("stage/boot", Outcome.PASS), Result(one, Outcome.FAIL), Result(other, Outcome.PASS))
    assert doubts(LaneResults(once), Variant(), 2, 5) == [Cell("head", Variant(), 2, (one,))]
    assert doubts(LaneResults(once), Variant(), 6, 5) == []
    passed = (*once, Result(one, Outcome.PASS, attempt=2))
    assert doubts(LaneResults(passed), Variant(), 2, 5) == [], "that has been answered"
    assert doubts(LaneResults(passed), Variant(), 3, 5) == [Cell("head", Variant(), 3, (one,))]
    assert doubts(LaneResults((*once, Result(one, Outcome.FAIL, attempt=2))), Variant(), 3, 5) == []


def test_what_looks_better_is_asked_again_too() -> None:
    one, other = "test_x.py::test_a", "test_x.py::test_b"
    base = LaneResults((Result(one, Outcome.PASS), Result(other, Outcome.FAIL)))
    head = LaneResults((Result(one, Outcome.FAIL), Result(other, Outcome.PASS)))
    lanes = Cell("base", Variant(), 2, (one, other)), Cell("head", Variant(), 2, (one, other))
    assert repetitions(base, head, Variant(), 2, 5) == list(lanes)
    assert [cell.tests for cell in confirmations(base, head, Variant(), 2, 5)] == [(other,), (other,)]


def test_each_file_of_the_suite_gets_guests_of_its_own_where_these_are_cheap() -> None:
    files = ["test_a.py", "test_b.py"]
    restored, cold = Job(kernel="k"), Job(kernel="k", start="cold")
    assert [cell.group for cell in first_cells(restored, "head", files)] == files
    assert [cell.group for cell in first_cells(cold, "head", files)] == [""]
    assert [cell.group for cell in first_cells(Job(kernel="k", select="e01"), "head", files)] == [""]


def test_the_longest_group_starts_first_and_an_unknown_one_before_it() -> None:
    cells = [Cell("head", Variant(), group=name) for name in ("short", "long", "new")]
    assert [c.group for c in longest_first(cells, {"short": 1.0, "long": 9.0})] == ["new", "long", "short"]


@pytest.mark.parametrize(
    ("asked", "cores", "free", "expected"), [(0, 2, 20000, 2), (0, 8, 5000, 2), (0, 8, 100, 1), (3, 1, 100, 3)]
)
def test_as_many_guests_as_cores_and_memory_carry(asked: int, cores: int, free: int, expected: int) -> None:
    assert workers(asked, cores, free, 2200) == expected


def cell_of(lane: str, **files: int) -> Cell:
    return Cell(lane, Variant(), 3, tuple(f"{file}::test_{n}" for file, count in files.items() for n in range(count)))


def test_a_large_repetition_is_spread_over_idle_guests_by_whole_files() -> None:
    cell = cell_of("base", a=2, b=9, c=5, d=4)
    halves = spread([cell], 2)
    assert [sorted({test[0] for test in half.tests or ()}) for half in halves] == [["a", "b"], ["c", "d"]]
    assert {(half.lane, half.attempt) for half in halves} == {("base", 3)}
    assert sorted(test for half in halves for test in half.tests or ()) == sorted(cell.tests or ())


def test_nothing_is_spread_that_would_not_gain() -> None:
    both = [cell_of("base", a=20, b=20), cell_of("head", a=20, b=20)]
    assert spread(both, 2) == both, "no guest stands idle"
    for cell in (cell_of("head", a=4, b=3), cell_of("head", a=20), Cell("head", Variant())):
        assert spread([cell], 4) == [cell], "few tests, one file, all tests"
    assert spread([], 2) == []


def test_kmemleak_looks_again_only_where_it_found_something() -> None:
    cells = [cell_of("base", a=3), cell_of("head", a=1)]
    parts = looked_at(cells, {"a::test_1"})
    assert [(cell.lane, cell.tests, cell.look) for cell in parts] == [
        ("base", ("a::test_1",), True),
        ("base", ("a::test_0", "a::test_2"), False),
        ("head", ("a::test_0",), False),
    ]
    assert all(cell.look for cell in looked_at(cells, {test for cell in cells for test in cell.tests or ()}))


def test_lanes_share_what_is_idle() -> None:
    spread_out = spread([cell_of("base", a=9, b=9, c=9, d=9), cell_of("head", a=1)], 4)
    assert sorted((cell.lane, len(cell.tests or ())) for cell in spread_out) == [
        ("base", 9),
        ("base", 9),
        ("base", 18),
        ("head", 1),
    ]
