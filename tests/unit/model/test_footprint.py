# SPDX-License-Identifier: GPL-2.0-only
"""Where to begin: the tests that run the edited lines, the fastest first."""

from __future__ import annotations

from harness.formats import footprints, gcov
from harness.model.edit import Edit, Edits
from harness.model.footprint import Footprints, likeliest, next_round

SOURCE = "\n".join(
    [
        "static int first(void)",
        "{",
        "  lock(thing);",
        "  if (!thing)",
        "    return -EINVAL;",
        "  return 0;",
        "}",
        "",
        "static int second(void)",
        "{",
        "  return put(thing,",
        "             all);",
        "}",
        "",
    ]
)
FOUND = Footprints(
    {"a.c": frozenset({1, 3, 4, 5, 6, 9, 11})},
    {"quick": {"a.c": frozenset({3, 4})}, "slow": {"a.c": frozenset({3, 5})}, "other": {"a.c": frozenset({11})}},
)


def edited(*changes: tuple[str, str]) -> dict[str, frozenset[int]]:
    edits = tuple(Edit("a.c", function, pattern, "") for function, pattern in changes)
    return dict(FOUND.edited(Edits("x", "t", edits), {"a.c": SOURCE}))


def test_the_lines_that_an_edit_replaces() -> None:
    assert edited(("first", "return -EINVAL;")) == {"a.c": frozenset({5})}
    assert edited(("first", r"lock[\s\S]*EINVAL;\n")) == {"a.c": frozenset({3, 4, 5})}
    assert edited(("first", "return 0;"), ("second", "put")) == {"a.c": frozenset({6, 11})}


def test_a_line_without_code_stands_for_the_one_before_it() -> None:
    assert edited(("second", "all")) == {"a.c": frozenset({11})}
    assert edited(("first", "int")) == {"a.c": frozenset({1})}


def test_an_edit_of_what_another_one_made_has_no_lines() -> None:
    assert edited(("first", "return 0;"), ("first", "no such text")) == {"a.c": frozenset({6})}


def test_those_that_run_most_come_first_then_the_fastest() -> None:
    hits = FOUND.hits({"a.c": frozenset({3, 4})})
    assert hits == {"quick": 2, "slow": 1}
    seconds = {"other": 2.0, "new": 1.0}
    assert likeliest(["other", "slow", "quick", "new"], hits, seconds, {}) == ["quick", "slow", "new", "other"]


def test_a_test_that_has_seen_bugs_before_may_take_longer() -> None:
    seconds = {"cheap": 0.05, "dear": 1.0}
    assert likeliest(seconds, {}, seconds, {"dear": 3}) == ["cheap", "dear"]
    assert likeliest(seconds, {}, seconds, {"dear": 4}) == ["dear", "cheap"]
    assert likeliest(seconds, {"cheap": 1}, seconds, {"dear": 4}) == ["cheap", "dear"]


def test_a_round_has_a_group_for_each_guest() -> None:
    seconds = {"a": 1.0, "b": 3.0, "c": 1.5, "d": 1.0, "e": 9.0}
    assert next_round("abcde", seconds, 2, 2.0) == [("a", "c"), ("b",)]  # each costs a little more than its own time
    assert next_round("e", seconds, 2, 2.0) == [("e",)]
    assert next_round("", seconds, 2, 2.0) == []


def test_what_gcov_counted_becomes_footprints_and_survives_its_file() -> None:
    counted = {
        "one": {"a.c": gcov.FileCounts({1: 0, 2: 5})},
        "two": {"a.c": gcov.FileCounts({1: 0, 2: 0}), "b.c": gcov.FileCounts({7: 1})},
    }
    found = footprints.gathered(counted)
    assert found.code == {"a.c": frozenset({1, 2}), "b.c": frozenset({7})}
    assert found.tests == {"one": {"a.c": frozenset({2})}, "two": {"b.c": frozenset({7})}}
    assert footprints.load(footprints.dump(found)) == found
