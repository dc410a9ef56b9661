# SPDX-License-Identifier: GPL-2.0-only
"""Series with Message-IDs from files and maildirs, through real b4, without any network."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.errors import InfraError, PatchError, UsageError
from harness.formats.mail import join_mbox
from harness.host.fetch import fetch, write_mbox
from harness.host.mailfile import write_maildir

SHARED = Path(__file__).resolve().parents[2] / "../shared/series"
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


def series(total: int = 2, revision: int = 1, answers: str | None = None) -> list[bytes]:
    top, mark = f"c{revision}@example.com", f"v{revision} " if revision > 1 else ""
    footers = f"words\n\nbase-commit: {'1' * 40}\nchange-id: 20260515-heap-x\n"
    return [
        mail(f"[PATCH {mark}0/{total}] accel: heap", top, answers, footers),
        *(
            mail(f"[PATCH {mark}{n}/{total}] accel: part {n}", f"p{revision}.{n}@example.com", top)
            for n in range(1, total + 1)
        ),
    ]


def answer(to: str) -> bytes:
    body = "> text\n\nReviewed-by: Rev Iewer <rev@example.com>\n"
    return mail("Re: [PATCH 1/2] accel: part 1", "r@example.com", to, body).replace(
        b"From: Ann Author <ann@example.com>", b"From: Rev Iewer <rev@example.com>"
    )


def mbox(folder: Path, mails: list[bytes], name: str = "box.mbox") -> str:
    path = folder / name
    path.write_bytes(join_mbox(mails))
    return str(path)


def test_an_mbox_keeps_what_was_said_about_the_series(tmp_path: Path) -> None:
    one = fetch(mbox(tmp_path, [*series(), answer("p1.1@example.com")]))
    assert (one.title, one.revision, one.message_id) == ("accel: heap", 1, "c1@example.com")
    assert (one.base_commit, one.change_id) == ("1" * 40, "20260515-heap-x")
    assert [patch.subject for patch in one.patches] == ["accel: part 1", "accel: part 2"]
    assert [patch.message_id for patch in one.patches] == ["p1.1@example.com", "p1.2@example.com"]
    assert all(patch.files == ("f",) and len(patch.patch_id) == 40 for patch in one.patches)
    assert one.trailers == (
        "Signed-off-by: Ann Author <ann@example.com>",
        "Reviewed-by: Rev Iewer <rev@example.com>",
    )
    assert any("added from an answer: Reviewed-by: Rev Iewer" in note for note in one.notes)
    assert b"Reviewed-by: Rev Iewer" in one.patches[0].mail
    assert one.newer_revision is None


def test_trying_a_series_leaves_nothing_in_the_home(tmp_path: Path, own_home: Path) -> None:
    fetch(mbox(tmp_path, series()))
    assert list(own_home.rglob("*")) == []


def test_a_maildir_and_a_crlf_mbox_give_the_same_patches(tmp_path: Path) -> None:
    one = fetch(mbox(tmp_path, series()))
    write_maildir(series()[::-1], tmp_path / "maildir")
    assert fetch(str(tmp_path / "maildir")).patch_ids == one.patch_ids
    crlf = tmp_path / "crlf.mbox"
    crlf.write_bytes(join_mbox(series()).replace(b"\n", b"\r\n"))
    assert fetch(str(crlf)).patch_ids == one.patch_ids


def test_what_is_written_is_read_again_as_the_same(tmp_path: Path) -> None:
    one = fetch(mbox(tmp_path, [*series(), answer("p1.1@example.com")]))
    write_mbox(one, tmp_path / "again.mbox")
    two = fetch(str(tmp_path / "again.mbox"))
    assert (two.patch_ids, two.base_commit, two.change_id) == (one.patch_ids, one.base_commit, one.change_id)
    assert two.trailers == one.trailers
    write_mbox(two, tmp_path / "third.mbox")
    assert (tmp_path / "third.mbox").read_bytes() == (tmp_path / "again.mbox").read_bytes()


def test_git_am_takes_what_is_written(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "repo"], cwd=tmp_path, env=GIT, check=True)
    repo = tmp_path / "repo"
    (repo / "f").write_text("one\na\nthree\n")
    subprocess.run(["git", "add", "."], cwd=repo, env=GIT, check=True)
    subprocess.run(["git", "commit", "-qm", "first"], cwd=repo, env=GIT, check=True)
    for number, source in enumerate((series(1), [diff().encode()])):
        path = tmp_path / f"{number}"
        path.write_bytes(source[0] if len(source) == 1 else join_mbox(source))
        write_mbox(fetch(str(path)), tmp_path / "out.mbox")
        subprocess.run(["git", "am", "-q", "../out.mbox"], cwd=repo, env=GIT, check=True)
        assert (repo / "f").read_text() != "one\na\nthree\n"
        subprocess.run(["git", "reset", "-q", "--hard", "HEAD~1"], cwd=repo, env=GIT, check=True)


def test_of_two_revisions_the_latest_is_taken(tmp_path: Path) -> None:
    box = mbox(tmp_path, [*series(2), *series(1, revision=2)])
    one = fetch(box)
    assert (one.revision, len(one.patches), one.newer_revision) == (2, 1, None)
    assert any("v2 was taken" in note for note in one.notes)


@pytest.mark.parametrize("answers", [None, "c1@example.com"])
def test_an_older_revision_is_taken_when_its_message_id_is_named(tmp_path: Path, answers: str | None) -> None:
    box = mbox(tmp_path, [*series(2), *series(1, revision=2, answers=answers)])
    one = fetch(f"{box}#p1.2@example.com")
    assert (one.revision, len(one.patches), one.newer_revision) == (1, 2, 2)
    assert any("newer revision" in note for note in one.notes)


def test_two_series_are_asked_for(tmp_path: Path) -> None:
    other = mail("[PATCH] other thing", "other@example.com")
    box = mbox(tmp_path, [*series(), other])
    with pytest.raises(UsageError, match="holds 2 series") as caught:
        fetch(box)
    assert "#MESSAGE-ID" in caught.value.hint
    assert fetch(f"{box}#other@example.com").title == "other thing"
    with pytest.raises(UsageError, match="holds no series with nobody@"):
        fetch(f"{box}#nobody@example.com")


@pytest.mark.parametrize("ids", [True, False])
def test_an_incomplete_series_names_what_is_missing(tmp_path: Path, ids: bool) -> None:
    mails = series(5)
    if not ids:
        mails = [mail(f"[PATCH {n}/5] accel: part {n}", None) for n in range(6)]
    with pytest.raises(UsageError, match="3 of 5 patches, missing: 2/5, 4/5") as caught:
        fetch(mbox(tmp_path, [m for n, m in enumerate(mails) if n not in (2, 4)]))
    assert len(caught.value.lines()) == 2


@pytest.mark.parametrize(
    "spec",
    ["nobody@example.com", "<x/y@example.com>", "-x@example.com", "http://127.0.0.1:9/list/x@example.com/"],
)
def test_an_archive_that_cannot_be_reached_is_the_labs_and_transient(spec: str) -> None:
    with pytest.raises(InfraError, match=r"cannot reach the mail archive.*Connection refused") as caught:
        fetch(spec)
    assert caught.value.transient
    assert len(caught.value.lines()) == 2


def test_hidden_unicode_is_refused(tmp_path: Path) -> None:
    evil = mail("[PATCH] x: a", "1@example.com").replace(b"Why.", "Why \u202e not.".encode())
    with pytest.raises(PatchError, match="control characters"):
        fetch(mbox(tmp_path, [evil]))


def test_a_mail_that_smuggles_a_second_one_is_refused(tmp_path: Path) -> None:
    inner = b"From git@z Thu Jan  1 00:00:00 1970\n" + mail("[PATCH] smuggled", "2@example.com")
    evil = mail("[PATCH] x: a", "1@example.com").replace(b"Why.\n", b"Why.\n\n" + inner + b"\n")
    (tmp_path / "evil.eml").write_bytes(evil)
    with pytest.raises(PatchError, match="pretends to be several: 2 instead of 1"):
        fetch(str(tmp_path / "evil.eml"))


def test_prerequisites_are_pointed_out(tmp_path: Path) -> None:
    mails = series()
    mails[0] += f"prerequisite-patch-id: {'a' * 40}\n".encode()
    assert any("--base-patch" in note for note in fetch(mbox(tmp_path, mails)).notes)


@pytest.mark.parametrize(
    ("name", "revision", "count"),
    [
        ("expandable-heap.v2.mbox", 2, 1),
        ("expandable-heap.v1.mbox", 1, 1),
        ("expandable-heap.followup-1.mbox", 1, 1),
        ("expandable-heap.reverse.patch", 1, 1),
        ("forward-01-hold-cu-bo-refs.mbox", 1, 2),
        ("forward-05-cmd-payload-bounds.mbox", 1, 1),
    ],
)
def test_real_mails(name: str, revision: int, count: int) -> None:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not on this machine")
    one = fetch(str(path))
    assert (one.revision, len(one.patches)) == (revision, count)
    assert all(f.startswith("drivers/accel/amdxdna/") for patch in one.patches for f in patch.files)
