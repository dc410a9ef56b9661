# SPDX-License-Identifier: GPL-2.0-only
"""Copies of a person's folder: by content, linked where nothing changed, free of build products."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.host.folder import copy, files_of
from harness.host.store import Store


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "lib").mkdir(parents=True)
    (folder / "a.c").write_text("a\n")
    (folder / "lib/b.c").write_text("b\n")
    (folder / "tool.sh").write_text("t\n")
    (folder / "tool.sh").chmod(0o700)
    (folder / "link").symlink_to("/etc/passwd")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_a_copy_is_whole_and_not_to_be_written(tree: Path, store: Store) -> None:
    _, root = copy(tree, store)
    assert sorted(str(p.relative_to(root)) for p in root.rglob("*")) == [
        "a.c",
        "lib",
        "lib/b.c",
        "link",
        "tool.sh",
    ]
    assert (root / "link").is_symlink()
    assert [(root / name).stat().st_mode & 0o777 for name in ("a.c", "tool.sh")] == [0o444, 0o555]


def test_a_later_edit_changes_no_copy(tree: Path, store: Store) -> None:
    key, root = copy(tree, store)
    with (tree / "a.c").open("r+") as stream:  # in place: the inode stays
        stream.write("X")
    later, other = copy(tree, store)
    assert later != key
    assert (root / "a.c").read_text() == "a\n"
    assert (other / "a.c").read_text() == "X\n"
    assert (root / "lib/b.c").samefile(other / "lib/b.c"), "unchanged files are linked, not copied"


def test_the_key_is_the_content_alone(tree: Path, store: Store, tmp_path: Path) -> None:
    key, _ = copy(tree, store)
    os.utime(tree / "a.c", (1, 1))
    assert copy(tree, store)[0] == key
    subprocess.run(["cp", "-r", tree, tmp_path / "twin"], check=True)
    assert copy(tmp_path / "twin", store)[0] == key
    (tree / "a.c").chmod(0o755)
    assert copy(tree, store)[0] != key


def test_without_a_change_nothing_is_copied(tree: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = copy(tree, store)
    monkeypatch.setattr("harness.host.folder._copy", None)
    assert copy(tree, store) == first


def test_a_copy_that_was_deleted_is_made_again(tree: Path, store: Store) -> None:
    _, root = copy(tree, store)
    subprocess.run(["rm", "-rf", root], check=True)
    assert (copy(tree, store)[1] / "lib/b.c").read_text() == "b\n"


@pytest.mark.parametrize("left", ["", '{"entry": "'])
def test_a_note_that_was_cut_off_is_none(tree: Path, store: Store, left: str) -> None:
    first = copy(tree, store)
    (note,) = (store.root / "sources").glob("dir-*.json")
    note.write_text(left)
    assert copy(tree, store) == first
    assert note.read_text() != left


def test_a_removed_file_is_gone_and_an_added_one_there(tree: Path, store: Store) -> None:
    copy(tree, store)
    (tree / "a.c").unlink()
    (tree / "new.c").write_text("n\n")
    _, root = copy(tree, store)
    assert not (root / "a.c").exists()
    assert (root / "new.c").read_text() == "n\n"


@pytest.mark.parametrize("product", [".config", "include/generated/x.h", "arch/x86/include/generated/x.h"])
def test_a_tree_built_in_place_is_refused(tree: Path, store: Store, product: str) -> None:
    (tree / product).parent.mkdir(parents=True, exist_ok=True)
    (tree / product).write_text("")
    with pytest.raises(UsageError, match="built in place"):
        copy(tree, store)


def test_a_pipe_is_refused(tree: Path, store: Store) -> None:
    os.mkfifo(tree / "pipe")
    with pytest.raises(UsageError, match="pipe"):
        copy(tree, store)


def test_git_leaves_out_what_it_ignores(tree: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tree, check=True)
    (tree / ".gitignore").write_text("*.o\n.config\n")
    for name in ("a.o", ".config", "new.c"):
        (tree / name).write_text("")
    subprocess.run(["git", "add", "a.c", ".gitignore"], cwd=tree, check=True)
    (tree / "a.c").write_text("edited\n")
    assert sorted(files_of(tree)) == [".gitignore", "a.c", "lib/b.c", "link", "new.c", "tool.sh"]


def test_a_deleted_file_that_git_still_lists_is_no_error(tree: Path, store: Store) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tree, check=True)
    subprocess.run(["git", "add", "."], cwd=tree, check=True)
    (tree / "a.c").unlink()
    assert not (copy(tree, store)[1] / "a.c").exists()


def test_a_copy_that_is_used_is_not_thrown_away(tree: Path, store: Store) -> None:
    """A night makes room while somebody works with it."""
    _, entry = copy(tree, store)
    os.utime(entry, (1, 1))
    assert copy(tree, store)[1] == entry
    assert entry.stat().st_mtime > 1
