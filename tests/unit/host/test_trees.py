# SPDX-License-Identifier: GPL-2.0-only
import difflib
import os
from pathlib import Path

import pytest

from harness.errors import PatchError, UsageError
from harness.host.sandbox import Bind
from harness.host.store import Store
from harness.host.trees import ABSENT, complete, fingerprint, fingerprints, make_tree, shown
from harness.model.series import Patch
from harness.model.tree import Source


@pytest.fixture
def source(tmp_path: Path) -> Source:
    path = tmp_path / "source"
    (path / "drivers").mkdir(parents=True)
    (path / "drivers" / "a.c").write_text("one\ntwo\nthree\n")
    (path / "drivers" / "b.c").write_text("b\n")
    (path / "link").symlink_to("drivers/a.c")
    return Source("dir:x", "x", "7.3.4", "sourcekey", path)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def patch(name: str, old: str, new: str) -> Patch:
    before, after = old.splitlines(True), new.splitlines(True)
    diff = "".join(difflib.unified_diff(before, after, f"a/{name}", f"b/{name}"))
    return Patch(
        "change " + name,
        "me",
        None,
        "same for all",
        (name,),
        f"diff --git a/{name} b/{name}\n{diff}".encode(),
    )


A = "drivers/a.c"
TWO = "one\ntwo\nthree\n"


def test_without_patches_the_tree_is_the_source(source: Source, store: Store) -> None:
    tree = make_tree(source, (), store)
    assert tree.path == source.path
    assert tree.touched == frozenset()
    assert not store.root.exists()


def test_a_patch_changes_the_tree_and_never_the_source(source: Source, store: Store) -> None:
    before = (source.path / A).stat()
    tree = make_tree(source, [patch(A, TWO, "one\nTWO\nthree\n")], store)
    assert tree.file(A).read_text() == "one\nTWO\nthree\n"
    assert (source.path / A).read_text() == TWO
    assert (source.path / A).stat().st_mtime_ns == before.st_mtime_ns
    assert tree.touched == {A}
    assert [path for path in tree.path.rglob("*") if path.is_file()] == [tree.path / A]
    assert tree.file("drivers/b.c") == source.path / "drivers/b.c"
    assert shown(tree) == (source.path, (Bind(tree.path / A, f"/src/{A}"),))
    whole = complete(tree, store)
    assert (whole.key, whole.touched, shown(whole)) == (tree.key, tree.touched, (whole.path, ()))
    assert (whole.path / A).read_text() == "one\nTWO\nthree\n"
    assert (whole.path / "drivers/b.c").samefile(source.path / "drivers/b.c")
    assert os.readlink(whole.path / "link") == "drivers/a.c"
    assert complete(whole, store) is whole


def test_lanes_with_the_same_layers_share_the_tree(source: Source, store: Store) -> None:
    layers = [patch(A, TWO, "one\nTWO\nthree\n")]
    assert make_tree(source, layers, store) == make_tree(source, layers, store)
    assert len(list((store.root / "trees").glob("[0-9a-f]*"))) == 1


def test_patches_that_differ_in_white_space_make_different_trees(source: Source, store: Store) -> None:
    one = make_tree(source, [patch(A, TWO, "one\n2 2\nthree\n")], store)
    other = make_tree(source, [patch(A, TWO, "one\n22\nthree\n")], store)
    assert one.key != other.key
    assert one.path != other.path


def test_the_same_content_has_the_same_key_however_it_came_about(source: Source, store: Store) -> None:
    there, back = patch(A, TWO, "one\nthree\n"), patch(A, "one\nthree\n", TWO)
    once = make_tree(source, [patch(A, TWO, "x\n")], store)
    detour = make_tree(source, [there, patch(A, "one\nthree\n", "x\n")], store)
    assert once.key == detour.key
    undone = make_tree(source, [there, back], store)
    assert undone.key == make_tree(source, (), store).key
    assert undone.touched == frozenset()


def test_files_that_come_and_go_are_touched(source: Source, store: Store) -> None:
    new = patch("drivers/new.c", "", "new\n")
    new = Patch(
        new.subject,
        "me",
        None,
        "",
        new.files,
        new.mail.replace(b"--- a/drivers/new.c", b"new file mode 100644\n--- /dev/null"),
    )
    gone = patch("drivers/b.c", "b\n", "")
    gone = Patch(
        gone.subject,
        "me",
        None,
        "",
        gone.files,
        gone.mail.replace(b"--- a", b"deleted file mode 100644\n--- a").replace(b"+++ b/drivers/b.c", b"+++ /dev/null"),
    )
    tree = make_tree(source, [new, gone], store)
    assert tree.touched == {"drivers/new.c", "drivers/b.c"}
    assert fingerprints(tree)["drivers/b.c"] == "absent"
    assert fingerprints(tree)["drivers/new.c"].startswith("file ")
    assert tree.whole, "a sandbox cannot cover what is not there"
    assert complete(tree, store) is tree


def test_a_patch_that_does_not_apply_leaves_nothing(source: Source, store: Store) -> None:
    with pytest.raises(UsageError):
        make_tree(source, [_indexed(patch(A, "something else\n", "x\n"))], store)
    assert not list((store.root / "trees").glob("[0-9a-f]*"))
    assert (source.path / A).read_text() == TWO


def _indexed(made: Patch) -> Patch:
    """With the index line of another file than the tree has."""
    mail = made.mail.replace(b"--- a/", b"index 1234567..89abcde 100644\n--- a/")
    return Patch(made.subject, made.author, None, "", made.files, mail)


def test_a_fingerprint_sees_mode_and_kind(tmp_path: Path) -> None:
    path = tmp_path / "f"
    assert fingerprint(path) == "absent"
    path.write_text("x")
    plain = fingerprint(path)
    path.chmod(0o755)
    assert fingerprint(path) != plain
    path.unlink()
    path.symlink_to("x")
    assert fingerprint(path).startswith("link ")


@pytest.mark.parametrize(
    "diff",
    [
        "diff --git a/{0} b/{0}/index\nsimilarity index 100%\nrename from {0}\nrename to {0}/index\n",
        "diff --git a/link b/link\n--- a/{0}\n+++ b/{0}\n@@ -1 +1 @@\n-b\n+new\n",
        "diff --git a/drivers b/drivers\n--- a/{0}\n+++ b/{0}\n@@ -1 +1 @@\n-b\n+new\n",
        f"diff --git a/{'x' * 300} b/{'x' * 300}\n--- a/{{0}}\n+++ b/{{0}}\n@@ -1 +1 @@\n-b\n+new\n",
    ],
    ids=["becomes a folder", "names a link", "names a folder", "names what no disk takes"],
)
def test_a_strangers_names_are_no_full_disk(source: Source, store: Store, diff: str) -> None:
    """Git passes over the names of the first line where others stand below."""
    name = "drivers/b.c"
    made = Patch("s", "me", None, "id", (name,), diff.format(name).encode())
    if "link" in diff:
        with pytest.raises(PatchError, match="link"):
            make_tree(source, [made], store)
        return
    tree = make_tree(source, [made], store)
    assert tree.touched - {f"{name}/index"} == {name}


def test_a_name_that_no_disk_takes_is_absent(tmp_path: Path) -> None:
    assert fingerprint(tmp_path / ("x" * 300)) == fingerprint(tmp_path) == ABSENT


def test_a_record_that_was_cut_off_is_no_entry(source: Source, store: Store) -> None:
    """A power failure; until then it ended each run with a traceback."""
    first = make_tree(source, [patch(A, TWO, "two\n")], store)
    (first.path.parent / "tree.json").write_text("")
    assert make_tree(source, [patch(A, TWO, "two\n")], store) == first
