# SPDX-License-Identifier: GPL-2.0-only
"""A series' diff, written and read again, with what ran laid over it."""

from __future__ import annotations

import pytest

from harness.formats.changes import difference, read
from harness.formats.gcov import FileCounts
from harness.model.changed import Ran

OLD = {"d/a.c": "one\ntwo\nthree\n", "d/gone.c": "x\n"}
NEW = {"d/a.c": "one\nnew\nnever\n\nthree\n", "d/new.h": "y\n"}


def test_what_changes_is_read_as_it_was_written() -> None:
    files = {file.name: file for file in read(difference(OLD, NEW))}
    assert list(files) == ["d/a.c", "d/gone.c", "d/new.h"]
    (hunk,) = files["d/a.c"].hunks
    assert [(line.mark, line.number, line.text) for line in hunk] == [
        (" ", 1, "one"),
        ("-", None, "two"),
        ("+", 2, "new"),
        ("+", 3, "never"),
        ("+", 4, ""),
        (" ", 5, "three"),
    ]
    assert {line.ran for line in hunk} == {Ran.UNKNOWN}
    assert [line.mark for line in files["d/gone.c"].hunks[0]] == ["-"]
    assert [line.mark for line in files["d/new.h"].hunks[0]] == ["+"]
    assert difference(OLD, OLD) == ""
    assert read("") == ()


def test_counts_are_laid_over_the_new_lines() -> None:
    counted = {"d/a.c": FileCounts({1: 5, 2: 7, 3: 0})}
    (hunk,) = read(difference({"d/a.c": OLD["d/a.c"]}, {"d/a.c": NEW["d/a.c"]}), counted)[0].hunks
    assert [line.ran for line in hunk if line.mark == "+"] == [Ran.RAN, Ran.NEVER, Ran.NOT_CODE]


def test_lines_that_look_like_a_header_are_lines() -> None:
    old = {"d/a.c": "-- a/evil\nkept\n"}
    new = {"d/a.c": "++ b/evil\nkept\r\n@@ -1 +1 @@\x0cx\n"}
    ((file,), text) = read(difference(old, new)), difference(old, new)
    assert "--- a/evil" in text
    assert "+++ b/evil" in text
    assert [(line.mark, line.text) for line in file.hunks[0]] == [
        ("-", "-- a/evil"),
        ("-", "kept"),
        ("+", "++ b/evil"),
        ("+", "kept\r"),
        ("+", "@@ -1 +1 @@\x0cx"),
    ]


@pytest.mark.parametrize("text", ["what?\n", "--- a/d/a.c\n+++ b/d/a.c\n@@ -1,2 +1,2 @@\n one\n", "--- a/d/a.c\n"])
def test_a_damaged_diff_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read(text)
