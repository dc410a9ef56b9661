# SPDX-License-Identifier: GPL-2.0-only
"""Edits by pattern: they hit one function, once, or say why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.host import edits as editing
from harness.job import EditsFile, check, read_toml
from harness.model.edit import DoesNotFit, Edit, Edits, body_of

SOURCE = """\
static int first(struct thing *thing);

static int
first(struct thing *thing)
{
\tif (thing) {
\t\tlock(thing);
\t}
\treturn first_step(thing);
}

struct thing *second(int count,
\t\t     int size)
{
\tfirst(NULL);
\tlock(other);
}
"""
PATCHES = Path(__file__).parents[3] / "patches"


def test_the_function_is_changed_and_nothing_else() -> None:
    edit = Edit("a.c", "second", r"lock\((\w+)\)", r"lock_nested(\1, 1)")
    assert edit.applied(SOURCE) == SOURCE.replace("lock(other)", "lock_nested(other, 1)")


def test_a_declaration_or_a_call_is_not_the_function() -> None:
    start, end = body_of("first", SOURCE)
    assert SOURCE[start:end].startswith("static int\nfirst(struct thing *thing)\n{")
    assert SOURCE[start:end].endswith("return first_step(thing);\n}")


@pytest.mark.parametrize(
    ("function", "pattern", "said"),
    [
        ("third", "lock", "no function third"),
        ("first", "nothing", "0 times"),
        ("first", "thing", "5 times"),
        ("first_step", "lock", "no function first_step"),
    ],
)
def test_what_does_not_fit_says_why(function: str, pattern: str, said: str) -> None:
    with pytest.raises(DoesNotFit, match=said):
        Edit("a.c", function, pattern, "").applied(SOURCE)


def planted(**options: object) -> Edits:
    edits = (Edit("a.c", "first", r"lock\(thing\)", "x"), Edit("a.c", "second", r"lock\(other\)", "y"))
    return Edits("planted", "a title", edits, **options)  # type: ignore[arg-type]


def test_all_are_made_on_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "pristine.c").write_text(SOURCE)
    (tmp_path / "a.c").hardlink_to(tmp_path / "pristine.c")
    assert editing.make(tmp_path, planted()) == {"a.c"}
    assert (tmp_path / "a.c").read_text() == SOURCE.replace("lock(thing)", "x").replace("lock(other)", "y")
    assert (tmp_path / "pristine.c").read_text() == SOURCE


def test_none_is_made_when_one_does_not_fit(tmp_path: Path) -> None:
    text = SOURCE.replace("other", "another")
    (tmp_path / "a.c").write_text(text)
    with pytest.raises(UsageError, match=r"'planted' does not fit this kernel: a\.c: second"):
        editing.make(tmp_path, planted())
    assert editing.make(tmp_path, planted(optional=True)) == frozenset()
    assert (tmp_path / "a.c").read_text() == text


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file a\.c"):
        editing.make(tmp_path, planted())


def test_a_file_behind_a_link_is_none_of_the_tree(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.c").write_text(SOURCE)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "d").symlink_to(tmp_path / "outside")
    edits = Edits("behind", "a title", (Edit("d/a.c", "first", r"lock\(thing\)", "x"),))
    with pytest.raises(UsageError, match=r"no file d/a\.c"):
        editing.make(tmp_path / "tree", edits)
    assert (tmp_path / "outside" / "a.c").read_text() == SOURCE


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [("replace", "(", "not a regular expression"), ("file", "../x.c", "below the kernel's top")],
)
def test_a_bad_entry_is_refused(key: str, value: str, said: str) -> None:
    entry = {"file": "a.c", "function": "f", "replace": "x", "by": "y", key: value}
    with pytest.raises(UsageError, match=said):
        check({"title": "t", "edit": [entry]}, EditsFile, "edits.toml")


@pytest.mark.parametrize("path", sorted((PATCHES / "edits").glob("*.toml")), ids=lambda path: path.stem)
def test_the_projects_own_are_well_formed(path: Path) -> None:
    assert read_toml(path, EditsFile).edits(path.stem).edits
