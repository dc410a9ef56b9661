# SPDX-License-Identifier: GPL-2.0-only
"""What git may and may not do to a tree, and whose fault it is when it will not. Runs real git."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

import pytest

from harness.errors import HarnessError, PatchError, UsageError
from harness.host import git
from harness.model.series import Patch

LINES = [f"line {n}\n" for n in range(1, 41)]
ENV = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ann Author",
    "GIT_AUTHOR_EMAIL": "ann@example.com",
    "GIT_COMMITTER_NAME": "Ann Author",
    "GIT_COMMITTER_EMAIL": "ann@example.com",
}


def run_git(cwd: Path, *words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=cwd, env=ENV, check=True, capture_output=True).stdout


def patch(diff: bytes, subject: str = "accel: change it") -> Patch:
    return Patch(subject, "Ann Author <ann@example.com>", None, "0" * 40, (), diff)


class Upstream:
    """A repository in which patches are made, and hard-linked trees of its first commit."""

    def __init__(self, root: Path) -> None:
        self.repo = root / "repo"
        (self.repo / "drv").mkdir(parents=True)
        run_git(self.repo, "init", "-q")
        (self.repo / "drv/a.c").write_text("".join(LINES))
        (self.repo / "drv/b.c").write_text("b\n")
        (self.repo / "drv/run.sh").write_text("#!/bin/sh\n")
        (self.repo / "Makefile").write_text("all:\n")
        run_git(self.repo, "add", ".")
        run_git(self.repo, "commit", "-q", "-m", "first")
        self.root = root
        self.trees = 0

    def tree(self) -> Path:
        """Files of the first commit; each has a second link in a pristine folder."""
        self.trees += 1
        pristine, tree = self.root / f"pristine{self.trees}", self.root / f"tree{self.trees}"
        for name in run_git(self.repo, "ls-tree", "-r", "--name-only", "HEAD").decode().split("\n"):
            if name:
                (pristine / name).parent.mkdir(parents=True, exist_ok=True)
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                (pristine / name).write_bytes(run_git(self.repo, "show", f"HEAD:{name}"))
                (tree / name).hardlink_to(pristine / name)
        return tree

    def diff(self, *options: str) -> bytes:
        """What the working folder changes against the first commit; the folder is reset then."""
        run_git(self.repo, "add", "-A")
        text = run_git(self.repo, "diff", "--cached", *options)
        run_git(self.repo, "reset", "-q", "--hard")
        return text


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream(tmp_path)


def edit(upstream: Upstream, number: int = 20, text: str = "changed\n") -> None:
    lines = list(LINES)
    lines[number - 1] = text
    (upstream.repo / "drv/a.c").write_text("".join(lines))


def everything(upstream: Upstream) -> bytes:
    edit(upstream)
    (upstream.repo / "drv/new.c").write_text("new\n")
    (upstream.repo / "drv/b.c").unlink()
    (upstream.repo / "Makefile").rename(upstream.repo / "Kbuild")
    (upstream.repo / "drv/run.sh").chmod(0o755)
    (upstream.repo / "fw.bin").write_bytes(bytes(range(256)))
    return upstream.diff("--binary", "-M")


def test_apply_names_every_touched_path(upstream: Upstream) -> None:
    tree = upstream.tree()
    touched = git.apply(tree, patch(everything(upstream)), "patch 1 of 1")
    assert touched == {
        "drv/a.c", "drv/new.c", "drv/b.c", "Makefile", "Kbuild", "drv/run.sh", "fw.bin",
    }  # fmt: skip
    assert (tree / "drv/a.c").read_text().splitlines()[19] == "changed"
    assert not (tree / "drv/b.c").exists()
    assert (tree / "fw.bin").read_bytes() == bytes(range(256))
    assert os.access(tree / "drv/run.sh", os.X_OK)


def test_apply_never_writes_into_the_pristine_source(upstream: Upstream) -> None:
    tree = upstream.tree()
    pristine = upstream.root / "pristine1"
    before = {p: (p.read_bytes(), p.stat().st_mode) for p in sorted(pristine.rglob("*")) if p.is_file()}
    git.apply(tree, patch(everything(upstream)), "patch 1 of 1")
    after = {p: (p.read_bytes(), p.stat().st_mode) for p in sorted(pristine.rglob("*")) if p.is_file()}
    assert after == before
    assert (tree / "drv/a.c").stat().st_nlink == 1


@pytest.mark.parametrize("where", ["around", "in", "user"])
def test_nobodys_git_configuration_takes_part(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    """A setting that lets a damaged patch apply, in a repository around or in the tree, or of the user."""
    edit(upstream)
    diff = upstream.diff()
    damaged = diff.replace(b" line 19\n", b" line   19\n")
    tree = upstream.tree()
    config = tmp_path / "config"
    if where != "user":
        folder = tmp_path if where == "around" else tree
        run_git(folder, "init", "-q")
        config = folder / ".git/config"
    config.write_text("[apply]\n\tignoreWhitespace = change\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    with pytest.raises(PatchError):
        git.apply(tree, patch(damaged), "patch 1 of 1")
    assert git.apply(tree, patch(diff), "patch 1 of 1") == {"drv/a.c"}


def test_blanks_at_the_end_of_a_line_are_the_authors_business(upstream: Upstream) -> None:
    edit(upstream, text="trailing blank \n")
    diff = upstream.diff()
    tree = upstream.tree()
    git.apply(tree, patch(diff), "patch 1 of 1")
    assert "trailing blank \n" in (tree / "drv/a.c").read_text()


def test_a_failed_apply_changes_nothing(upstream: Upstream) -> None:
    tree = upstream.tree()
    (upstream.repo / "drv/b.c").write_text("b2\n")
    edit(upstream)
    diff = upstream.diff().replace(b" line 19\n", b" line XX\n")
    with pytest.raises(PatchError):
        git.apply(tree, patch(diff), "patch 1 of 1")
    assert (tree / "drv/b.c").read_text() == "b\n"


def test_damaged_context_on_the_right_base_is_the_authors(upstream: Upstream) -> None:
    edit(upstream)
    diff = upstream.diff().replace(b" line 19\n", b" line XX\n")
    with pytest.raises(PatchError) as caught:
        git.apply(upstream.tree(), patch(diff), "patch 2 of 3")
    assert "patch 2 of 3 'accel: change it'" in caught.value.message
    assert "drv/a.c, hunk 1 (line 17)" in caught.value.message
    assert caught.value.hint


def test_the_second_hunk_is_named(upstream: Upstream) -> None:
    lines = list(LINES)
    lines[2] = lines[30] = "changed\n"
    (upstream.repo / "drv/a.c").write_text("".join(lines))
    diff = upstream.diff().replace(b" line 30\n", b" line XX\n")
    with pytest.raises(PatchError, match=r"drv/a\.c, hunk 2 \(line 28\)"):
        git.apply(upstream.tree(), patch(diff), "patch 1 of 1")


def test_another_base_is_the_users(upstream: Upstream) -> None:
    edit(upstream)
    diff = upstream.diff()
    tree = upstream.tree()
    other = tree / "drv/a.c"
    other.unlink()
    other.write_text("something\nelse\n")
    with pytest.raises(UsageError, match=r"another base: drv/a\.c") as caught:
        git.apply(tree, patch(diff), "patch 1 of 1")
    assert "--kernel SRC" in caught.value.hint
    assert "--base-patch FILE" in caught.value.hint


def test_a_missing_file_is_another_base(upstream: Upstream) -> None:
    edit(upstream)
    diff = upstream.diff()
    tree = upstream.tree()
    (tree / "drv/a.c").unlink()
    with pytest.raises(UsageError, match="another base"):
        git.apply(tree, patch(diff), "patch 1 of 1")


def test_a_patch_that_is_in_already_says_so(upstream: Upstream) -> None:
    edit(upstream)
    (upstream.repo / "drv/new.c").write_text("new\n")
    one = patch(upstream.diff())
    tree = upstream.tree()
    git.apply(tree, one, "patch 1 of 1")
    with pytest.raises(UsageError, match="in the tree already") as caught:
        git.apply(tree, one, "patch 1 of 1")
    assert "--base-patch" in caught.value.hint


def test_without_index_lines_nobody_can_say(upstream: Upstream) -> None:
    edit(upstream)
    diff = b"".join(
        line.replace(b"line 19", b"line XX")
        for line in upstream.diff().splitlines(keepends=True)
        if not line.startswith(b"index ")
    )
    with pytest.raises(PatchError, match=r"does not apply: drv/a\.c") as caught:
        git.apply(upstream.tree(), patch(diff), "patch 1 of 1")
    assert "no index lines" in caught.value.hint


def test_a_hunk_that_ends_early_is_named_with_its_line(upstream: Upstream) -> None:
    edit(upstream)
    diff = b"".join(upstream.diff().splitlines(keepends=True)[:-2])
    with pytest.raises(PatchError, match=r"damaged in drv/a\.c, hunk 1, line \d+ of the diff: corrupt patch"):
        git.apply(upstream.tree(), patch(diff), "patch 1 of 1")


def test_a_wrapped_line_is_damage(upstream: Upstream) -> None:
    edit(upstream)
    diff = upstream.diff().replace(b" line 19\n", b" line\n19\n")
    with pytest.raises(PatchError, match=r"damaged in drv/a\.c, hunk 1"):
        git.apply(upstream.tree(), patch(diff), "patch 1 of 1")


def test_no_diff_at_all(upstream: Upstream) -> None:
    with pytest.raises(PatchError, match="carries no diff"):
        git.apply(upstream.tree(), patch(b"From: a@b\nSubject: hello\n\nno patch here\n"), "patch 1 of 1")


def new_file(path: str, mode: str = "100644", body: str = "evil") -> bytes:
    return (
        f"diff --git a/{path} b/{path}\nnew file mode {mode}\nindex 0000000..1234567\n"
        f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+{body}\n"
    ).encode()


@pytest.mark.parametrize(
    ("diff", "word"),
    [
        (new_file("../outside"), "outside the source tree"),
        (new_file("drv/../../outside"), "outside the source tree"),
        (new_file("/etc/evil"), "outside the source tree"),
        (b"--- /dev/null\n+++ b//etc/evil\n@@ -0,0 +1 @@\n+evil\n", "outside the source tree"),
        (new_file(".git/hooks/post-checkout"), "touches a .git folder"),
        (new_file("drv/.GIT/config"), "touches a .git folder"),
        (new_file("drv/link", "120000", "/etc"), "link or submodule"),
        (new_file("drv/link", "0120000", "/etc"), "link or submodule"),
        (new_file("drv/link", " 120000 and more", "/etc"), "link or submodule"),
        (new_file("drv/link", "4000000000120000", "/etc"), "link or submodule"),
        (new_file("drv/sub", "160000", "Subproject commit " + "1" * 40), "link or submodule"),
        (b"diff --git a/f b/f\nsimilarity index 100%\nrename from drv/a.c\nrename to ../a.c\n", "outside"),
        (new_file("drv/x").replace(b"b/drv/x", b'"b/../\\170"'), "outside the source tree"),
    ],
)  # fmt: skip
def test_hostile_paths_are_refused(upstream: Upstream, diff: bytes, word: str) -> None:
    tree = upstream.tree()
    before = sorted(upstream.root.iterdir())
    with pytest.raises(PatchError, match=word):
        git.apply(tree, patch(diff), "patch 1 of 1")
    assert sorted(upstream.root.iterdir()) == before
    assert not Path("/etc/evil").exists()


def test_a_path_through_a_link_of_the_tree_is_refused(upstream: Upstream) -> None:
    tree = upstream.tree()
    (upstream.root / "elsewhere").mkdir()
    (tree / "out").symlink_to(upstream.root / "elsewhere")
    with pytest.raises(HarnessError):
        git.apply(tree, patch(new_file("out/evil")), "patch 1 of 1")
    assert not list((upstream.root / "elsewhere").iterdir())


def test_a_link_that_the_patch_itself_could_make_is_refused_before_anything_is_written(
    upstream: Upstream,
) -> None:
    tree = upstream.tree()
    with pytest.raises(PatchError, match="link"):
        git.apply(tree, patch(new_file("drv/l", "120000", "..") + new_file("drv/l/evil")), "patch 1 of 1")
    assert not (tree / "drv/l").is_symlink()


def test_a_link_of_the_tree_is_not_led_elsewhere(upstream: Upstream) -> None:
    """Such a change has no mode in it: git takes the link's own."""
    tree = upstream.tree()
    (tree / "drv/l").symlink_to("a.c")
    led = b"\\ No newline at end of file\n"
    diff = b"diff --git a/drv/l b/drv/l\n--- a/drv/l\n+++ b/drv/l\n@@ -1 +1 @@\n-a.c\n" + led + b"+/etc/passwd\n" + led
    with pytest.raises(PatchError, match="link"):
        git.apply(tree, patch(diff), "patch 1 of 1")


@pytest.mark.parametrize("behind", [False, True])
def test_a_file_that_is_renamed_in_the_old_words_is_touched(upstream: Upstream, behind: bool) -> None:
    tree = upstream.tree()
    names, words = b"--- a/drv/z.c\n+++ b/drv/z.c\n", b"rename old drv/b.c\nrename new drv/z.c\n"
    head = names + words if behind else words
    diff = b"diff --git a/drv/z.c b/drv/z.c\n" + head + b"@@ -1 +1 @@\n-b\n+c\n"
    assert git.apply(tree, patch(diff), "patch 1 of 1") == {"drv/b.c", "drv/z.c"}
    assert not (tree / "drv/b.c").exists()


@pytest.mark.parametrize(
    "hides",
    [
        b"index zzz\nrename from drv/b.c\n",  # git passes over a line that it cannot read
        b"rename from drv/b.c\rjunk\n",  # and ends a name at white space
        b'rename from "drv/b.c"junk\n',  # or behind its quotes
    ],
)
def test_no_head_hides_what_git_takes_away(upstream: Upstream, hides: bytes) -> None:
    """What is taken away decides what has to be built."""
    head = b"diff --git a/drv/z.c b/drv/z.c\n" + hides + b"rename to drv/z.c\n"
    tree = upstream.tree()
    assert git.apply(tree, patch(head), "patch 1 of 1") >= {"drv/b.c", "drv/z.c"}
    assert not (tree / "drv/b.c").exists()


def test_a_file_that_is_changed_in_binary_has_its_names(upstream: Upstream) -> None:
    """Without the way back, too, which git format-patch --binary leaves out for new files."""
    (upstream.repo / "drv/b.bin").write_bytes(bytes(range(256)) * 4)
    run_git(upstream.repo, "add", "-A")
    diff = run_git(upstream.repo, "diff", "--cached", "--binary", "--full-index")
    assert git.apply(upstream.tree(), patch(diff), "patch 1 of 1") == {"drv/b.bin"}


def test_control_characters_of_a_subject_do_not_reach_the_message(upstream: Upstream) -> None:
    with pytest.raises(PatchError) as caught:
        git.apply(upstream.tree(), patch(b"nothing", subject="\x1b[2Jhello\nworld"), "patch 1 of 1")
    assert "\x1b" not in caught.value.message
    assert "\n" not in caught.value.message


def mail(diff: bytes, encoding: str = "8bit") -> bytes:
    body = b"Why.\n\nSigned-off-by: A <a@example.com>\n---\n drv/a.c | 2 +-\n\n" + diff + b"-- \n2.39.5\n"
    if encoding == "base64":
        body = base64.encodebytes(body)
    return (
        b"From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\nFrom: A <a@example.com>\n"
        b"Subject: [PATCH] x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
        b"Content-Transfer-Encoding: " + encoding.encode() + b"\n\n" + body
    )


@pytest.mark.parametrize("encoding", ["8bit", "base64"])
@pytest.mark.parametrize("crlf", [False, True])
def test_diff_of_a_mail_applies(upstream: Upstream, encoding: str, crlf: bool) -> None:
    edit(upstream)
    text = mail(upstream.diff(), encoding)
    if crlf:
        text = text.replace(b"\n", b"\r\n")
    tree = upstream.tree()
    assert git.apply(tree, patch(text), "patch 1 of 1") == {"drv/a.c"}


def test_diff_of_a_bare_diff_is_itself(upstream: Upstream) -> None:
    edit(upstream)
    diff = upstream.diff()
    assert git.diff_of(diff) == diff


def test_patch_id_is_that_of_the_change_not_of_the_mail(upstream: Upstream) -> None:
    edit(upstream)
    diff = upstream.diff()
    one = git.patch_id(diff)
    assert len(one) == 40
    assert git.patch_id(git.diff_of(mail(diff))) == one
    assert git.patch_id(diff.replace(b"@@ -17", b"@@ -117")) == one
    assert git.patch_id(diff.replace(b"+changed", b"+other")) != one


def test_patch_id_of_something_without_text_is_still_one() -> None:
    assert len(git.patch_id(b"nothing at all")) == 40
