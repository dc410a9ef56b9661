# SPDX-License-Identifier: GPL-2.0-only
"""The planted bugs: enough of each sort, strict files, names that say what is wrong. Whether they fit the kernel's text
is a test with the kernel's text (tests/system/test_planted_edits.py)."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.job import PlantedFile, read_toml
from harness.knowledge import planted_bugs
from harness.model.planted import BugKind, Planted

FOLDER = Path(__file__).parents[2] / "patches" / "planted"
MOST_OF_A_KIND = 8
DRIVER = "drivers/accel/amdxdna/"
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+){1,7}")
KERNEL_CODE = 160
"""An edit is a change, not a copy: no pattern and no replacement is longer, without its white space."""


@pytest.fixture(scope="module")
def bugs() -> list[Planted]:
    return planted_bugs(FOLDER)


def test_there_are_enough_of_each_sort(bugs: list[Planted]) -> None:
    kinds = Counter(bug.kind for bug in bugs)
    neutral = kinds.pop(BugKind.NEUTRAL)
    assert kinds.keys() == set(BugKind) - {BugKind.NEUTRAL}
    assert {kind: count for kind, count in kinds.items() if count > MOST_OF_A_KIND} == {}
    assert kinds.total() >= 56
    assert neutral >= 10
    assert sum(bug.series for bug in bugs if bug.kind is not BugKind.NEUTRAL) >= 15


def test_names_speak_and_nothing_is_planted_twice(bugs: list[Planted]) -> None:
    for bug in bugs:
        assert NAME.fullmatch(bug.id), f"{bug.id}: words and hyphens, please"
        assert bug.id.startswith("neutral-") == (bug.kind is BugKind.NEUTRAL), bug.id
    assert len({bug.title for bug in bugs}) == len(bugs)
    assert len({bug.edits.edits for bug in bugs}) == len(bugs)


def test_only_the_driver_is_edited_and_nothing_is_copied(bugs: list[Planted]) -> None:
    for bug in bugs:
        for edit in bug.edits.edits:
            assert edit.file.startswith(DRIVER), bug.id
            assert edit.replace != edit.by
            for text in (edit.replace, edit.by):
                assert len("".join(text.split())) <= KERNEL_CODE, f"{bug.id}: {text}"


def test_a_neutral_edit_has_no_excuse(bugs: list[Planted]) -> None:
    """It must survive anyway: a reason why would hide a false alarm."""
    assert [bug.id for bug in bugs if bug.kind is BugKind.NEUTRAL and bug.survives] == []


@pytest.mark.parametrize("line", ['kind = "lost_put"', 'seris = true\nkind = "lock"', 'optional = true\nkind = "lock"'])
def test_files_are_strict(tmp_path: Path, line: str) -> None:
    path = tmp_path / "bug.toml"
    path.write_text(f'title = "t"\n{line}\n[[edit]]\nfile = "f"\nfunction = "g"\nreplace = "a"\nby = "b"\n')
    with pytest.raises(UsageError):
        read_toml(path, PlantedFile)
