# SPDX-License-Identifier: GPL-2.0-only
"""Series from files and commits without Message-IDs, and everything that is refused. Runs real git, no b4."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import InfraError, UsageError
from harness.formats.mail import join_mbox
from harness.host.fetch import fetch, write_mbox
from harness.host.mailfile import write_maildir

GIT = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ann \u00c4uthor",
    "GIT_AUTHOR_EMAIL": "ann@example.com",
    "GIT_COMMITTER_NAME": "Ann Author",
    "GIT_COMMITTER_EMAIL": "ann@example.com",
}


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody's git or b4 configuration, and no archive: the address is a closed port."""
    home = tmp_path / "home"
    home.mkdir()
    for name in [n for n in os.environ if n.startswith(("XDG_", "GIT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    settings = {"b4.midmask": "http://127.0.0.1:9/%s", "b4.searchmask": "http://127.0.0.1:9/?x=m&q=%s"}
    monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(settings)))
    for number, (key, value) in enumerate(settings.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", key)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    return home


def diff(name: str = "f", new: str = "b") -> str:
    return (
        f"diff --git a/{name} b/{name}\nindex 1111111..2222222 100644\n--- a/{name}\n+++ b/{name}\n"
        f"@@ -1,3 +1,3 @@\n one\n-a\n+{new}\n three\n"
    )


def mail(subject: str, own: str | None, answers: str | None = None, body: str | None = None) -> bytes:
    head = f"From: Ann Author <ann@example.com>\nSubject: {subject}\nDate: Fri, 15 May 2026 09:19:22 +0000\n"
    head += f"Message-ID: <{own}>\n" if own else ""
    head += f"In-Reply-To: <{answers}>\nReferences: <{answers}>\n" if answers else ""
    if body is None:
        body = (
            "Why.\n\nSigned-off-by: Ann Author <ann@example.com>\n---\n f | 2 +-\n"
            f" 1 file changed, 1 insertion(+), 1 deletion(-)\n\n{diff(new=subject[-1])}-- \n2.39.5\n"
        )
    return f"{head}\n{body}".encode()


def series(total: int = 2, revision: int = 1) -> list[bytes]:
    top, mark = f"c{revision}@example.com", f"v{revision} " if revision > 1 else ""
    footers = f"words\n\nbase-commit: {'1' * 40}\nchange-id: 20260515-heap-x\n"
    return [
        mail(f"[PATCH {mark}0/{total}] accel: heap", top, None, footers),
        *(
            mail(f"[PATCH {mark}{n}/{total}] accel: part {n}", f"p{revision}.{n}@example.com", top)
            for n in range(1, total + 1)
        ),
    ]


def mbox(folder: Path, mails: list[bytes], name: str = "box.mbox") -> str:
    path = folder / name
    path.write_bytes(join_mbox(mails))
    return str(path)


def test_mails_without_message_id_go_through_git_and_that_is_said(tmp_path: Path) -> None:
    one = fetch(mbox(tmp_path, [mail("[PATCH 1/2] x: a", None), mail("[PATCH 2/2] x: b", None)]))
    assert len(one.patches) == 2
    assert one.notes == ("no Message-ID: taken by git mailinfo, b4 skipped",)
    assert one.title == "x: a (and 1 more)"


def test_a_bare_diff(tmp_path: Path) -> None:
    path = tmp_path / "fix.diff"
    path.write_text(diff())
    one = fetch(str(path))
    assert (one.title, one.revision, one.patches[0].files) == ("fix.diff", None, ("f",))
    assert one.patches[0].mail == diff().encode()


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("keep", ["@@ -1,3 +1,3 @@\n", " one\n", "-a\n", "+2\n"])
def test_a_cut_mbox_is_the_users_to_save_again(tmp_path: Path, ids: bool, keep: str) -> None:
    first, last = (mail(f"[PATCH {n}/2] x: {n}", f"{n}@example.com" if ids else None) for n in (1, 2))
    cut = last[: last.index(b"@@ -1")] + last[last.index(b"@@ -1") : last.index(keep.encode()) + len(keep)]
    path = tmp_path / "cut.mbox"
    path.write_bytes(join_mbox([first, cut]).rstrip(b"\n") + b"\n")
    with pytest.raises(UsageError, match=r"cut off in the middle of the diff of 'x: 2'") as caught:
        fetch(str(path))
    assert len(caught.value.lines()) == 2


def test_an_mbox_cut_between_files_or_before_the_diff(tmp_path: Path) -> None:
    whole = mail("[PATCH 2/2] x: 2", "2@example.com").replace(b" 1 file changed", b" 2 files changed")
    with pytest.raises(UsageError, match="changes 2 files, but its diff has 1"):
        fetch(mbox(tmp_path, [mail("[PATCH 1/2] x: 1", "1@example.com"), whole]))
    with pytest.raises(UsageError, match="cut off before the diff of 'x: 2'"):
        fetch(mbox(tmp_path, [mail("[PATCH 1/2] x: 1", "1@example.com"), whole[: whole.index(b"---\n")]]))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty", b"", "is empty"),
        ("words", b"hello\n", "neither mails nor a diff"),
        ("talk", mail("hello", "1@example.com", None, "words\n"), "holds no patch"),
    ],
)
def test_files_without_a_patch(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=words) as caught:
        fetch(str(tmp_path / name))
    assert len(caught.value.lines()) == 2


def test_folders_that_are_no_maildir(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="no maildir"):
        fetch(str(tmp_path / "folder"))
    write_maildir([], tmp_path / "maildir")
    with pytest.raises(UsageError, match="empty maildir"):
        fetch(str(tmp_path / "maildir"))


@pytest.mark.parametrize("spec", ["", "nothing-here.mbox", "a b@c", "https://example.com/list/", "x" * 5000, "a\0b"])
def test_what_is_no_series(spec: str) -> None:
    with pytest.raises(UsageError) as caught:
        fetch(spec)
    assert len(caught.value.lines()) == 2
    assert all(line.isprintable() and len(line) < 400 for line in caught.value.lines())


def test_an_existing_path_wins_over_a_message_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a@b").write_text(diff())
    monkeypatch.chdir(tmp_path)
    assert fetch("a@b").title == "a@b"


def commits(folder: Path) -> Path:
    repo = folder / "tree"
    subprocess.run(["git", "init", "-q", str(repo)], env=GIT, check=True)
    for number in range(4):
        (repo / "drv").mkdir(exist_ok=True)
        (repo / "drv/f").write_text(f"one\n{number}\nthree\n")
        subprocess.run(["git", "add", "."], cwd=repo, env=GIT, check=True)
        subprocess.run(["git", "commit", "-qm", f"accel: step {number}"], cwd=repo, env=GIT, check=True)
    return repo


def test_a_range_of_commits(tmp_path: Path) -> None:
    repo = commits(tmp_path)
    subprocess.run(["git", "config", "format.attach", "true"], cwd=repo, env=GIT, check=True)
    subprocess.run(["git", "config", "diff.noprefix", "true"], cwd=repo, env=GIT, check=True)
    one = fetch(f"git:{repo}#HEAD~2..HEAD")
    assert [patch.subject for patch in one.patches] == ["accel: step 2", "accel: step 3"]
    assert one.patches[0].author == "Ann \u00c4uthor <ann@example.com>"
    assert one.patches[0].files == ("drv/f",)
    base = subprocess.run(["git", "rev-parse", "HEAD~2"], cwd=repo, env=GIT, check=True, capture_output=True)
    assert one.base_commit == base.stdout.decode().strip()
    assert any("b4 skipped" in note for note in one.notes)


@pytest.mark.parametrize("span", ["HEAD..HEAD", "HEAD~2..nope", "HEAD", "HEAD~1...HEAD", "--output=x..HEAD", "..HEAD"])
def test_ranges_that_are_none(tmp_path: Path, span: str) -> None:
    repo = commits(tmp_path)
    with pytest.raises(UsageError) as caught:
        fetch(f"git:{repo}#{span}")
    assert len(caught.value.lines()) == 2
    assert not (repo / "x").exists()


def test_a_range_in_something_that_is_no_repository(tmp_path: Path) -> None:
    for tree in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UsageError):
            fetch(f"git:{tree}#A..B")


def test_b4_that_never_ends_is_stopped_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nsleep 600\n")
    slow.chmod(slow.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(slow))
    with pytest.raises(InfraError, match="did not answer within 1 s") as caught:
        fetch("nobody@example.com", limit=1)
    assert caught.value.transient


def test_an_mbox_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "fix.diff").write_text(diff())
    one = fetch(str(tmp_path / "fix.diff"))
    with pytest.raises(UsageError, match=r"cannot write .*nowhere/x: No such file"):
        write_mbox(one, tmp_path / "nowhere" / "x")
