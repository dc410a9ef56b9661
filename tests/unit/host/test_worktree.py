# SPDX-License-Identifier: GPL-2.0-only
"""A developer's tree: what is meant by a range, by uncommitted, by a base; and that nothing of it changes."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.host import git as host_git
from harness.host.fetch import fetch, write_mbox
from harness.host.worktree import MAX_COMMITS, UNCOMMITTED, Worktree, anchors
from harness.model.series import Patch, Series

WHO = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)


def git(folder: Path, *argv: str) -> str:
    done = subprocess.run(["git", *WHO, *argv], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path, subject: str, **files: str | None) -> str:
    """A commit that writes these files (``a_c`` is a.c); None takes one away."""
    for name, text in files.items():
        path = folder / name.replace("_", ".")
        if text is None:
            path.unlink()
        else:
            path.write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", subject)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three commits: v1, then two on top."""
    folder = tmp_path / "linux"
    (folder / "sub").mkdir(parents=True)
    git(folder, "init", "-q")
    (folder / "sub" / "keep").write_text("keep\n")
    commit(folder, "begin", a_c="one\n", b_c="b\n")
    git(folder, "tag", "-a", "-m", "v1", "v1")
    commit(folder, "second: äöü", a_c="two\n")
    commit(folder, "third", a_c="three\n", c_c="new\n")
    return folder


def state(*folders: Path) -> dict[str, tuple[int, int, str]]:
    """Modes, times and contents of all files: what must stay."""
    found = {}
    for path in (path for folder in folders for path in folder.rglob("*")):
        info = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        # Whoever reads a split index, git status too, marks its shared part as still in use.
        when = 0 if path.name.startswith("sharedindex.") else info.st_mtime_ns
        found[str(path)] = (info.st_mode, when, content)
    return found


def applied(tree: Path, base: str, series: Series, folder: Path) -> dict[str, bytes]:
    """The files that the patches make out of the base, by way of an mbox, as a run applies them."""
    write_mbox(series, folder / "series.mbox")
    out = folder / "applied"
    out.mkdir()
    tar = subprocess.run(["git", "archive", base], cwd=tree, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x"], cwd=out, input=tar, check=True)
    for patch in fetch(str(folder / "series.mbox")).patches:
        host_git.apply(out, patch, "patch")
    return files(out)


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def subjects(series: Series) -> list[str]:
    return [patch.subject for patch in series.patches]


def test_the_last_commits_are_a_series_in_order(tree: Path) -> None:
    work = Worktree(tree)
    span = work.span(count=2)
    series = work.series(span)
    assert subjects(series) == ["second: äöü", "third"]
    assert series.patches[0].author == "A <a@example.org>"
    assert series.patches[1].files == ("a.c", "c.c")
    assert (span.base, span.head) == (git(tree, "rev-parse", "v1^{commit}"), git(tree, "rev-parse", "HEAD"))
    assert series.title == "second: äöü (and 1 more)"


@pytest.mark.parametrize(
    ("words", "expected"),
    [("v1..", ["second: äöü", "third"]), ("v1..HEAD~1", ["second: äöü"]), ("HEAD~1..", ["third"])],
)
def test_ranges(tree: Path, words: str, expected: list[str]) -> None:
    work = Worktree(tree)
    assert subjects(work.series(work.span(words))) == expected


@pytest.mark.parametrize("words", ["HEAD", "..HEAD", "v1...HEAD", "v1..nope", "--all..", "..", "HEAD~9.."])
def test_what_is_no_range_is_the_users(tree: Path, words: str) -> None:
    with pytest.raises(UsageError):
        Worktree(tree).span(words)


def test_a_range_and_a_count_exclude_each_other(tree: Path) -> None:
    with pytest.raises(UsageError, match="exclude"):
        Worktree(tree).span("v1..", 1)


def test_without_words_the_nearest_tag_is_the_beginning(tree: Path) -> None:
    git(tree, "tag", "-a", "-m", "sent", "sent/20260101-heap-v1")
    git(tree, "tag", "light")
    assert len(Worktree(tree).span().commits) == 2, "tags of b4, and those without a message, are no bases"


def test_without_words_the_upstream_goes_before_the_tag(tree: Path) -> None:
    git(tree, "branch", "theirs", "HEAD~1")
    git(tree, "branch", "--set-upstream-to=theirs")
    work = Worktree(tree)
    assert subjects(work.series(work.span())) == ["third"]
    git(tree, "checkout", "-q", "theirs")
    commit(tree, "elsewhere", d_c="d\n")
    git(tree, "checkout", "-q", "main")
    assert subjects(work.series(work.span())) == ["third"]
    fork = work.fork()
    assert fork is not None
    assert fork.commit == git(tree, "rev-parse", "HEAD~1"), "the merge base counts, not the upstream's tip"


def test_without_upstream_and_tag_the_user_must_say(tree: Path) -> None:
    git(tree, "tag", "-d", "v1")
    with pytest.raises(UsageError, match="no upstream") as caught:
        Worktree(tree).span()
    assert "--count" in caught.value.hint


def test_too_many_commits_are_refused_and_a_way_out_is_named(tree: Path) -> None:
    for number in range(MAX_COMMITS - 1):
        commit(tree, f"more {number}", a_c=f"{number}\n")
    with pytest.raises(UsageError, match=rf"v1\.\. has {MAX_COMMITS + 1} commits") as caught:
        Worktree(tree).span()
    assert "--count" in caught.value.hint
    assert len(Worktree(tree).span(count=MAX_COMMITS).commits) == MAX_COMMITS


def test_more_than_nine_keep_their_order(tree: Path, tmp_path: Path) -> None:
    for number in range(12):
        commit(tree, f"more {number}", a_c=f"{number}\n")
    (tree / "a.c").write_text("last\n")
    work = Worktree(tree)
    series = work.series(work.span(count=12))
    write_mbox(series, tmp_path / "series.mbox")
    back = fetch(str(tmp_path / "series.mbox"))
    assert subjects(back) == [*(f"more {n}" for n in range(12)), UNCOMMITTED]
    assert back.patch_ids == series.patch_ids


def test_a_merge_is_refused(tree: Path) -> None:
    git(tree, "checkout", "-q", "-b", "side", "v1")
    commit(tree, "aside", b_c="bb\n")
    git(tree, "checkout", "-q", "main")
    git(tree, "merge", "-q", "-m", "merge", "side")
    merge = git(tree, "rev-parse", "HEAD")[:12]
    commit(tree, "after", a_c="four\n")
    work = Worktree(tree)
    with pytest.raises(UsageError, match=f"has a merge, {merge}"):
        work.span("v1..")
    assert subjects(work.series(work.span(f"{merge}.."))) == ["after"]


def test_the_first_commit_of_all_has_no_base(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    with pytest.raises(UsageError, match="no commit HEAD"):
        Worktree(tmp_path).span()
    first = commit(tmp_path, "one", a_c="a\n")
    git(tmp_path, "checkout", "-q", "--orphan", "other")
    commit(tmp_path, "two", b_c="b\n")
    with pytest.raises(UsageError, match="nothing before"):
        Worktree(tmp_path).span(f"{first}..")


def test_a_shallow_clone_says_how_to_get_more(tree: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--depth=2", f"file://{tree}", "shallow")
    work = Worktree(tmp_path / "shallow")
    assert subjects(work.series(work.span(count=1))) == ["third"]
    with pytest.raises(UsageError, match="no commit HEAD~2"):
        work.span(count=2)


def test_staged_unstaged_new_gone_and_renamed_are_one_patch(tree: Path, tmp_path: Path) -> None:
    (tree / "a.c").write_text("staged\n")
    (tree / "staged.c").write_text("s\n")
    git(tree, "add", "a.c", "staged.c")
    (tree / "a.c").write_text("and changed again\n")
    (tree / "intended.c").write_text("i\n")
    git(tree, "add", "-N", "intended.c")
    (tree / "b.c").unlink()
    git(tree, "mv", "c.c", "d.c")
    (tree / "sub" / "keep").chmod(0o755)
    (tree / "bytes.bin").write_bytes(bytes(range(256)) * 3)
    (tree / "latin.c").write_bytes(b"caf\xe9\r\nno newline")
    git(tree, "add", "bytes.bin", "latin.c")
    (tree / "not mine").write_text("untracked\n")
    work = Worktree(tree)
    span = work.span(count=1)
    series = work.series(span)
    assert subjects(series) == ["third", UNCOMMITTED]
    assert [note for note in series.notes if "untracked" in note and "not mine" in note]
    expected = {name: data for name, data in files(tree).items() if name != "not mine"}
    assert applied(tree, span.base, series, tmp_path) == expected
    assert (tmp_path / "applied/sub/keep").stat().st_mode & 0o100


def test_changes_alone_are_a_series(tree: Path) -> None:
    work = Worktree(tree)
    with pytest.raises(UsageError, match="nothing to test"):
        work.series(work.span(count=0))
    (tree / "a.c").write_text("four\n")
    span = work.span(count=0)
    series = work.series(span)
    assert subjects(series) == [UNCOMMITTED]
    assert (series.title, span.base) == (UNCOMMITTED, git(tree, "rev-parse", "HEAD"))


@pytest.mark.parametrize("name", ["Jörg Ü", "Last, First", "[PATCH] <x"])
def test_uncommitted_changes_have_an_author(tree: Path, tmp_path: Path, name: str) -> None:
    git(tree, "config", "user.name", name)
    git(tree, "config", "user.email", "j@example.org")
    (tree / "a.c").write_text("four\n")
    work = Worktree(tree)
    write_mbox(work.series(work.span(count=0)), tmp_path / "series.mbox")
    git(tree, "stash", "-q")
    git(tree, "am", "-q", str(tmp_path / "series.mbox"))
    assert git(tree, "log", "-1", "--format=%an|%ae|%s") == f"{name.replace('<', '')}|j@example.org|{UNCOMMITTED}"


def test_what_is_not_committed_belongs_to_head_alone(tree: Path) -> None:
    (tree / "a.c").write_text("four\n")
    work = Worktree(tree)
    series = work.series(work.span("v1..HEAD~1"))
    assert subjects(series) == ["second: äöü"]
    assert [note for note in series.notes if "not tested" in note]


def test_a_change_that_looks_like_none_is_seen(tree: Path) -> None:
    """Same size, same times, as when an editor is faster than the clock: git compares with the index's own time, so
    that must not be a copy's."""
    git(tree, "config", "core.trustctime", "false")
    path, then = tree / "a.c", 10**18
    path.write_text("AAAA\n")
    os.utime(path, ns=(then, then))
    git(tree, "add", "a.c")
    git(tree, "commit", "-q", "-m", "racy")
    path.write_text("BBBB\n")
    os.utime(path, ns=(then, then))
    os.utime(tree / ".git" / "index", ns=(then, then))
    patch, _ = Worktree(tree).uncommitted()
    assert patch is not None
    assert b"+BBBB" in patch.mail


def test_a_conflict_is_the_users(tree: Path) -> None:
    git(tree, "checkout", "-q", "-b", "side", "v1")
    commit(tree, "aside", a_c="another\n")
    subprocess.run(["git", *WHO, "merge", "-q", "main"], cwd=tree, check=False, capture_output=True)
    with pytest.raises(UsageError, match="middle of a merge"):
        Worktree(tree).uncommitted()


@pytest.mark.parametrize("split", ["never", "already", "with the next write"])
def test_nothing_changes(tree: Path, tmp_path: Path, split: str) -> None:
    git(tree, "config", "core.untrackedCache", "true")
    if split == "already":
        git(tree, "config", "core.splitIndex", "true")
        git(tree, "update-index", "--split-index")
    git(tree, "worktree", "add", "-q", str(tmp_path / "linked"), "-b", "other")
    for folder in (tree, tmp_path / "linked"):
        (folder / "a.c").write_text("changed\n")
        (folder / "new.c").write_text("n\n")
        git(folder, "add", "new.c")
        (folder / "b.c").touch()  # the index does not know yet that its content is the same
        (folder / "none.c").write_text("untracked\n")
    hooks = tree / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-index-change", "fsmonitor"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tree}/hooked\n")
        (hooks / name).chmod(0o755)
    git(tree, "config", "core.fsmonitor", str(hooks / "fsmonitor"))
    if split == "with the next write":
        git(tree, "config", "core.splitIndex", "true")
    before = state(tree, tmp_path / "linked")
    for folder in (tree, tmp_path / "linked", tree / "sub"):
        work = Worktree(folder)
        assert work.top == (tree if folder.name == "sub" else folder)
        span = work.span()
        series = work.series(span)
        assert subjects(series) == ["second: äöü", "third", UNCOMMITTED]
        assert series.patches[-1].files == ("a.c", "new.c")
        work.anchor(span.base, lambda commit: False)
        work.anchor(git(tree, "rev-parse", "HEAD"), lambda commit: False)
    assert state(tree, tmp_path / "linked") == before
    git(tree, "config", "--unset", "core.fsmonitor")
    assert git(tree, "diff", "--name-only").splitlines() == ["a.c"], "and git itself still sees what it saw"


def test_a_hooks_environment_does_not_lead_elsewhere(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    (tree / "a.c").write_text("mine\n")
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY"):
        monkeypatch.setenv(name, str(other / ".git"))
    work = Worktree(tree)
    assert work.top == tree
    patch, _ = work.uncommitted()
    assert patch is not None
    assert patch.files == ("a.c",)


@pytest.mark.parametrize(
    "setting",
    [
        "diff.noprefix=true",
        "diff.mnemonicPrefix=true",
        "diff.algorithm=patience",
        "diff.context=1",
        "diff.renames=copies",
        "diff.external=false",
        "color.ui=always",
        "format.numbered=false",
        "format.from=true",
        "format.signOff=true",
        "log.showSignature=true",
        "core.quotePath=false",
        "core.autocrlf=input",
    ],
)
def test_the_users_settings_change_no_patch(tree: Path, tmp_path: Path, setting: str) -> None:
    commit(tree, "umlaut", ü_c="x\n" * 30)
    commit(tree, "copy", ö_c="x\n" * 31)
    (tree / "ü.c").write_text("y\n" + "x\n" * 30)
    for pair in (setting, "user.name=B", "user.email=b@example.org"):
        git(tree, "config", *pair.split("="))
    work = Worktree(tree)
    span = work.span("v1..")
    assert applied(tree, span.base, work.series(span), tmp_path) == files(tree)


def test_commits_of_every_kind_survive(tree: Path, tmp_path: Path) -> None:
    (tree / "a.c").chmod(0o755)
    commit(tree, "only the mode")
    git(tree, "mv", "b.c", "moved.c")
    commit(tree, "only the name")
    commit(tree, "an empty file", empty_c="")
    (tree / "bytes.bin").write_bytes(bytes(range(256)) * 3)
    (tree / "latin.c").write_bytes(b"caf\xe9\r\nno newline")
    commit(tree, "bytes\n\nFrom a@example.org Mon Sep 17 00:00:00 2001\nSubject: this is no mail\n---\nnor this\n")
    commit(tree, "[PATCH 7/9] [RFC] brackets: of its own", a_c="four\n")
    commit(tree, "gone", a_c=None)
    work = Worktree(tree)
    span = work.span("v1..")
    series = work.series(span)
    assert len(series.patches) == len(span.commits) == 8
    assert applied(tree, span.base, series, tmp_path) == files(tree)


def test_a_commit_that_changes_nothing_is_left_out(tree: Path) -> None:
    """b4 prep keeps its cover letter in such a commit, before the first patch."""
    commit(tree, "EDITME: cover title")
    commit(tree, "fourth", a_c="four\n")
    commit(tree, "nothing again")
    commit(tree, "fifth", a_c="five\n")
    commit(tree, "nothing more")
    work = Worktree(tree)
    series = work.series(work.span(count=5))
    assert subjects(series) == ["fourth", "fifth"]
    assert [note for note in series.notes if "3 commit(s) that change nothing" in note]
    with pytest.raises(UsageError, match="nothing to test"):
        work.series(work.span(count=1))


@pytest.mark.parametrize(
    "message",
    [
        "diff --git a/b.c b/b.c\n--- a/b.c\n+++ b/b.c\n@@ -1 +1 @@\n-b\n+evil\n",
        "--- a/b.c\n+++ b/b.c\n@@ -1 +1 @@\n-b\n+evil\n",
    ],
)
def test_a_diff_in_a_commit_message_is_never_applied(tree: Path, message: str) -> None:
    commit(tree, f"shows a diff\n\n{message}", a_c="four\n")
    work = Worktree(tree)
    with pytest.raises(UsageError, match="does not survive as a mail"):
        work.series(work.span(count=1))


def test_nowhere_is_said_so(tmp_path: Path, tree: Path) -> None:
    (tmp_path / "none").mkdir()
    git(tmp_path, "init", "-q", "--bare", "bare.git")
    for place in (tmp_path / "none", tmp_path / "bare.git", tree / ".git"):
        with pytest.raises(UsageError, match="no git work tree"):
            Worktree(place)


@pytest.mark.parametrize(
    ("stored", "fork", "expected"),
    [
        (set(), None, ["base"]),
        (set(), "two", ["two", "base"]),
        (set(), "elsewhere", ["base"]),
        ({"three"}, "two", ["three", "two", "base"]),
        ({"one", "three"}, "two", ["one", "two", "base"]),
        ({"base", "one"}, "two", ["base", "two"]),
        (set(), "base", ["base"]),
        ({"two"}, "two", ["two", "base"]),
    ],
)
def test_which_commit_is_built(stored: set[str], fork: str | None, expected: list[str]) -> None:
    assert anchors(["base", "one", "two", "three"], stored, fork) == expected


def test_the_base_is_one_diff_away_from_the_anchor(tree: Path, tmp_path: Path) -> None:
    work = Worktree(tree)
    v1, base = git(tree, "rev-parse", "v1^{commit}"), git(tree, "rev-parse", "HEAD")
    anchor = work.anchor(base, lambda commit: False)
    assert anchor.commit == v1
    patch = Patch("base", "", None, "", (), anchor.diff)
    assert applied(tree, v1, Series("", "", (patch,)), tmp_path) == files(tree)
    assert work.anchor(base, lambda commit: commit == base).diff == b""
    middle = git(tree, "rev-parse", "HEAD~1")
    assert work.anchor(base, lambda commit: commit == middle).commit == middle


def test_an_anchor_from_which_no_patch_leads_is_none(tree: Path) -> None:
    """The trees' patches take no links, whoever made them."""
    (tree / "link").symlink_to("a.c")
    base = commit(tree, "link")
    work = Worktree(tree)
    assert work.anchor(base, lambda commit: False).commit == base
    (tree / "link").unlink()
    plain = commit(tree, "no link")
    assert work.anchor(plain, lambda commit: False).commit == git(tree, "rev-parse", "v1^{commit}")


def test_a_far_anchor_is_none(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, base = Worktree(tree), git(tree, "rev-parse", "HEAD")
    monkeypatch.setattr("harness.host.worktree.REACH", 1)
    assert work.anchor(base, lambda commit: False).commit == base
    monkeypatch.setattr("harness.host.worktree.REACH", 2)
    assert work.anchor(base, lambda commit: False).commit != base
    monkeypatch.setattr("harness.host.worktree.MAX_BASE_DIFF", 10)
    assert work.anchor(base, lambda commit: False).commit == base
