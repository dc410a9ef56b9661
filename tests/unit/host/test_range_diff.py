# SPDX-License-Identifier: GPL-2.0-only
"""Two revisions on one base, compared by real git, and where the previous one is found. No network."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InfraError
from harness.formats.mail import join_mbox
from harness.host import b4
from harness.host.fetch import fetch
from harness.host.range_diff import DoesNotApply, range_diff
from harness.host.revisions import discussion, previous
from harness.model.series import Series
from harness.model.tree import Source, Tree


def mail(own: str, prefix: str, new: str, *, context: str = "one", subject: str = "x: change a") -> bytes:
    diff = f"diff --git a/d/f b/d/f\n--- a/d/f\n+++ b/d/f\n@@ -1,3 +1,3 @@\n {context}\n-a\n+{new}\n three\n"
    return (
        f"From: Ann <ann@example.org>\nSubject: [{prefix}] {subject}\nMessage-ID: <{own}@x>\n"
        f"Date: Fri, 15 May 2026 09:19:22 +0000\n\n"
        f"Why.\n\nSigned-off-by: Ann <ann@example.org>\n---\n{diff}--\n2.39.5\n"
    ).encode()


def reply(to: str) -> bytes:
    return (
        f"From: Bob <bob@example.org>\nSubject: Re: [PATCH] x: change a\nMessage-ID: <r{to}@x>\n"
        f"In-Reply-To: <{to}@x>\nDate: Fri, 15 May 2026 10:19:22 +0000\n\n> +b\n\nWhy b?\n"
    ).encode()


@pytest.fixture
def base(tmp_path: Path) -> Tree:
    path = tmp_path / "base" / "d" / "f"
    path.parent.mkdir(parents=True)
    path.write_text("one\na\nthree\n")
    return Tree("key", tmp_path / "base", Source("tar:x", "a tar file", "7.3", "key", tmp_path / "base"))


def series(folder: Path, name: str, *mails: bytes) -> Series:
    path = folder / name
    path.write_bytes(join_mbox(mails))
    return fetch(str(path))


def test_what_differs_is_shown(tmp_path: Path, base: Tree) -> None:
    old, new = (series(tmp_path, f"{n}.mbox", mail(n, f"PATCH {n}", text)) for n, text in (("v1", "b"), ("v2", "c")))
    lines = range_diff(base, old, new)
    assert " ! 1:" in lines[0]
    assert [line.strip() for line in lines if line.strip() in ("-+b", "++c")] == ["-+b", "++c"]
    assert base.file("d/f").read_text() == "one\na\nthree\n"


def test_the_same_patches_differ_in_nothing(tmp_path: Path, base: Tree) -> None:
    old, new = (series(tmp_path, f"{n}.mbox", mail(n, f"PATCH {n}", "b")) for n in ("v1", "v2"))
    assert range_diff(base, old, new) == ()


def test_a_revision_for_another_base_has_none(tmp_path: Path, base: Tree) -> None:
    old = series(tmp_path, "v1.mbox", mail("v1", "PATCH", "b", context="other"))
    with pytest.raises(DoesNotApply, match="does not apply to this base"):
        range_diff(base, old, series(tmp_path, "v2.mbox", mail("v2", "PATCH v2", "c")))


def test_the_previous_revision_is_in_the_same_file(tmp_path: Path) -> None:
    new = series(tmp_path, "all.mbox", mail("v1", "PATCH", "b"), reply("v1"), mail("v2", "PATCH v2", "c"))
    found = previous(new, tmp_path / "older.mbox")
    assert found.spec == f"{tmp_path / 'all.mbox'}#v1@x"
    old = fetch(found.spec)
    assert old.revision == 1
    said = discussion(old)
    assert [m.message_id for m in said.own] == ["v1@x"]
    assert [m.message_id for m in said.mails if m.reply] == ["rv1@x"]


def test_the_first_revision_has_none(tmp_path: Path) -> None:
    assert previous(series(tmp_path, "v1.mbox", mail("v1", "PATCH", "b")), tmp_path / "x").spec == ""


def test_a_list_that_does_not_answer_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object) -> list[bytes]:
        raise InfraError("the archive does not answer")

    monkeypatch.setattr(b4, "fetch_older", silent)
    found = previous(series(tmp_path, "v2.mbox", mail("v2", "PATCH v2", "c")), tmp_path / "x")
    assert found.spec == ""
    assert "the archive does not answer; name it with --previous" in found.how


def test_one_from_the_list_is_kept_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mails = [mail("v1", "PATCH", "b"), mail("v2", "PATCH v2", "c")]
    monkeypatch.setattr(b4, "fetch_older", lambda *_: mails)
    found = previous(series(tmp_path, "v2.mbox", mails[1]), tmp_path / "out" / "previous.mbox")
    assert found.spec == f"{tmp_path / 'out' / 'previous.mbox'}#v1@x"
    assert fetch(found.spec).revision == 1
