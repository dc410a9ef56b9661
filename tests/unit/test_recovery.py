# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from benchmarks.misbehaviour import HANG, MISBEHAVIOURS, PROJECT
from benchmarks.recovery import Line, left, read, table
from harness.job import EditsFile, read_toml

PLAYED = [
    Line("panic", 1, answers=60.0, healthy=90.0),
    Line("panic", 2, "not HEALTHY within 600 s"),
    Line("panic", 3, answers=80.0, healthy=110.0),
    Line("cut", 1, "invented"),
]


def test_what_was_played_is_not_played_again() -> None:
    assert left(PLAYED, ["panic", "cut"], 3) == [("cut", 2), ("cut", 3)]
    assert left([], ["panic", "cut"], 2) == [("panic", 1), ("cut", 1), ("panic", 2), ("cut", 2)]


def test_a_line_that_was_cut_off_is_played_again(tmp_path: Path) -> None:
    record = tmp_path / "recovery.jsonl"
    record.write_text(json.dumps(asdict(PLAYED[0])) + '\n{"name": "cut", "num')
    assert read(record) == PLAYED[:1]
    assert read(tmp_path / "nothing") == []


def test_who_did_not_recover_is_counted_and_not_timed() -> None:
    lines = table(PLAYED, {"panic": "a panic", "cut": "a cut", "clock": "a jump"}).splitlines()
    assert lines[2:] == [
        "| a panic | 2 of 3 | 70, at most 80 | 100, at most 110 |",
        "| a cut | 0 of 1 | - | - |",
    ]


def test_the_readme_says_what_was_played() -> None:
    lines = read(PROJECT / "benchmarks" / "recovery.jsonl")
    assert len({(line.name, line.number) for line in lines}) == len(lines)
    assert table(lines, {one.name: one.about for one in MISBEHAVIOURS}) in (PROJECT / "README.md").read_text()


def test_each_misbehaviour_is_one() -> None:
    assert len({one.name for one in MISBEHAVIOURS}) == len(MISBEHAVIOURS) == 9
    assert all(one.strike is not None or one.words for one in MISBEHAVIOURS)


def test_the_edit_that_hangs_is_in_order(tmp_path: Path) -> None:
    (tmp_path / "hang.toml").write_text(HANG)
    edit = read_toml(tmp_path / "hang.toml", EditsFile).edits("hang").edits[0]
    text = f"int {edit.function}(void *data)\n{{\n\tif (data) {{\n\t\treturn 1;\n\t}}\n\treturn 0;\n}}\n"
    assert "{\n\tif (!strcmp(current->comm" in edit.applied(text)
