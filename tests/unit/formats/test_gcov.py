# SPDX-License-Identifier: GPL-2.0-only
"""Line counts as gcov prints them."""

from __future__ import annotations

import json

import pytest

from harness.formats import gcov

GEM = "drivers/accel/amdxdna/amdxdna_gem.c"


def document(path: str, lines: dict[int, int], functions: dict[str, int]) -> str:
    entries = [{"line_number": number, "count": count} for number, count in lines.items()]
    calls = [
        {"name": name, "execution_count": count, "start_line": 10 - place, "end_line": 20}
        for place, (name, count) in enumerate(functions.items())
    ]
    return json.dumps({"files": [{"file": path, "lines": entries, "functions": calls}]})


def test_counts_of_guests_are_summed() -> None:
    found = gcov.read(
        [document(f"/source/{GEM}", {1: 2, 2: 0}, {"a": 2}), document(f"/source/{GEM}", {1: 1, 2: 3, 3: 0}, {"a": 1})]
    )
    assert found[GEM].lines == {1: 3, 2: 3, 3: 0}
    assert found[GEM].functions == {"a": 3}
    assert (found[GEM].run, found[GEM].never()) == (2, [3])


def test_a_line_of_two_functions_is_one_line() -> None:
    text = json.loads(document(GEM, {4: 0}, {}))
    text["files"][0]["lines"].append({"line_number": 4, "count": 7})
    assert gcov.read([json.dumps(text)])[GEM].lines == {4: 7}


def test_headers_of_the_kernel_do_not_count() -> None:
    assert gcov.read([document("./include/linux/list.h", {1: 1}, {})]) == {}


def test_functions_that_never_ran_come_in_the_order_of_the_file() -> None:
    found = gcov.read([document(GEM, {1: 1}, {"later": 0, "ran": 1, "first": 0})])
    assert found[GEM].never_called() == ["first", "later"]
    assert gcov.table(found)[1:] == [
        "amdxdna_gem.c                         1      1   100.0",
        "    never ran: first, later",
    ]


def test_what_a_later_run_adds_is_named() -> None:
    first, second = (gcov.read([document(GEM, lines, {"a": 1})]) for lines in ({1: 1, 2: 0, 3: 0}, {1: 1, 2: 5, 3: 0}))
    total = gcov.merged([first, second])
    assert total[GEM].lines == {1: 2, 2: 5, 3: 0}
    assert total[GEM].functions == {"a": 2}
    assert first[GEM].lines == {1: 1, 2: 0, 3: 0}
    assert gcov.gained(first, total) == ["only in later runs: amdxdna_gem.c: 2"]
    assert gcov.lines_never_run(total) == ["never ran: amdxdna_gem.c: 3"]


def test_two_drivers_are_not_summed() -> None:
    with pytest.raises(ValueError, match="not the same"):
        gcov.merged([gcov.read([document(GEM, {1: 1}, {})]), gcov.read([document(GEM, {2: 1}, {})])])


def test_ranges_are_short() -> None:
    assert gcov.ranges([1, 2, 3, 7, 9, 10]) == "1-3, 7, 9-10"
    assert gcov.ranges([]) == ""


def test_what_is_written_is_read_again() -> None:
    found = gcov.read([document(GEM, {1: 2, 2: 0}, {"a": 2})])
    assert gcov.load(gcov.dump(found, ["3"], {GEM: [2]})) == (found, ["3"], {GEM: [2]})


def test_lines_of_the_series_that_never_ran_are_named() -> None:
    new = {GEM: gcov.added("a\nb\n", "a\nx\ny\nb\n")}
    assert new == {GEM: [2, 3]}
    said = gcov.describe(gcov.read([document(GEM, {1: 0, 2: 1, 3: 0}, {})]), ["4"], new)
    assert said[-2:] == [
        f"added by the series: {GEM}: 1 of 2 lines ran; never: 3",
        "without what these counted, which took their guest along: 4",
    ]


def test_only_a_newline_ends_a_line() -> None:
    assert gcov.added("a\f\nb\n", "a\f\nnew\u2028\nb\n") == [2]
