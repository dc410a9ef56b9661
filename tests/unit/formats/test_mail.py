# SPDX-License-Identifier: GPL-2.0-only
"""Mails as lists, archives and attackers make them."""

from __future__ import annotations

import base64

import pytest

from harness.errors import UsageError
from harness.formats.mail import Mail, has_headers, join_mbox, read_mail, read_mails, split_mbox

DIFF = "diff --git a/f b/f\nindex 1111111..2222222 100644\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n"
BODY = (
    'Why it is needed.\n\nFixes: 123456789abc ("accel: break it")\nLink: https://example.com/1\n'
    "Reviewed-by: Rev Iewer <rev@example.com>\nSigned-off-by: Ann Author <ann@example.com>\n---\n"
    f" f | 2 +-\n 1 file changed, 1 insertion(+), 1 deletion(-)\n\n{DIFF}-- \n2.39.5\n\n"
    "base-commit: 0123456789012345678901234567890123456789\n"
    "prerequisite-patch-id: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n"
    "prerequisite-patch-id: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\nchange-id: 20260515-heap-abc\n"
)


def text(subject: str = "[PATCH] accel: one", body: str = BODY, more: str = "") -> bytes:
    head = f"From: Ann Author <ann@example.com>\nSubject: {subject}\nMessage-ID: <p1@example.com>\n"
    return f"{head}{more}\n{body}".encode()


def mail(subject: str = "[PATCH] accel: one", body: str = BODY, more: str = "") -> Mail:
    return read_mail(text(subject, body, more), "test")


@pytest.mark.parametrize(
    ("subject", "revision", "counter", "total", "title"),
    [
        ("[PATCH] accel: one", 1, None, None, "accel: one"),
        ("[PATCH v2 3/5] accel: one", 2, 3, 5, "accel: one"),
        ("[PATCH V2] accel: one", 2, None, None, "accel: one"),
        ("[PATCHv4 01/12] accel: one", 4, 1, 12, "accel: one"),
        ("[RFC PATCH v3 0/2] accel: one", 3, 0, 2, "accel: one"),
        ("[PATCH RESEND drm-misc-next v2 1/2] accel: one", 2, 1, 2, "accel: one"),
        ("[xdna] [PATCH v2,3/5] accel: one", 2, 3, 5, "accel: one"),
        ("[drm] accel: [x] one", 1, None, None, "[drm] accel: [x] one"),
        ("accel: no prefix v9 1/2", 1, None, None, "accel: no prefix v9 1/2"),
        ("[PATCH]", 1, None, None, "[PATCH]"),
    ],
)
def test_subject_prefixes(subject: str, revision: int, counter: int | None, total: int | None, title: str) -> None:
    one = mail(subject)
    assert (one.revision, one.counter, one.total, one.title) == (revision, counter, total, title)


def test_a_patch_a_cover_letter_and_an_answer_are_told_apart() -> None:
    assert mail().is_patch
    cover = mail("[PATCH 0/2] accel", "Words, and a quoted\ndiff --git a/f b/f\n")
    assert cover.is_cover
    assert not cover.is_patch
    answer = mail("Re: [PATCH 1/2] accel", BODY)
    assert answer.reply
    assert not answer.is_patch
    assert answer.counter == 1
    assert not mail(body="just words\n").is_patch


def test_trailers_and_footers() -> None:
    one = mail()
    assert one.trailers == (
        'Fixes: 123456789abc ("accel: break it")',
        "Link: https://example.com/1",
        "Reviewed-by: Rev Iewer <rev@example.com>",
        "Signed-off-by: Ann Author <ann@example.com>",
    )
    assert one.footers("base-commit") == ("0123456789012345678901234567890123456789",)
    assert one.footers("prerequisite-patch-id") == ("a" * 40, "b" * 40)
    assert one.footers("change-id") == ("20260515-heap-abc",)


def test_words_below_the_cut_are_no_trailers() -> None:
    assert mail(body=f"Why.\n---\nAcked-by: Nobody <n@example.com>\n{DIFF}").trailers == ()


def test_message_id_references_and_missing_headers() -> None:
    one = mail(more="In-Reply-To: <c@example.com>\nReferences: <a@example.com>\n <c@example.com>\n")
    assert one.message_id == "p1@example.com"
    assert one.references == ("a@example.com", "c@example.com")
    bare = read_mail(b"Subject: [PATCH] x\n\n" + DIFF.encode(), "test")
    assert (bare.message_id, bare.author) == (None, "unknown")


def test_encoded_headers_and_bodies() -> None:
    coded = base64.b64encode(BODY.replace("Why", "W\u00e4rum").encode()).decode()
    one = mail(
        "=?utf-8?q?=5BPATCH_v2=5D_accel=3A_=C3=BCber?=",
        coded,
        "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n",
    )
    assert (one.title, one.revision) == ("accel: \u00fcber", 2)
    assert one.body.startswith("W\u00e4rum")
    assert one.is_patch


def test_the_author_is_the_one_named_in_the_body() -> None:
    assert mail(body=f"From: Real One <real@example.com>\n\n{BODY}").author == "Real One <real@example.com>"


def test_mbox_is_split_at_mbox_lines_only() -> None:
    trap = "From here on it is words.\nFrom Mon to Fri 10:00 works 2026\nnot a header\n" + BODY
    mbox = join_mbox([text(body=trap), text("[PATCH 2/2] two")])
    one, two = read_mails(mbox, "test")
    assert (one.title, two.title) == ("accel: one", "two")
    assert "\nFrom Mon to Fri 10:00 works 2026\n" in one.body


def test_an_mbox_line_inside_a_body_survives_writing_and_reading() -> None:
    evil = "From 0 Mon Sep 17 00:00:00 2001\nSubject: [PATCH 9/9] smuggled\n\n" + BODY
    again = read_mails(join_mbox([text(body=evil)]), "test")
    assert len(again) == 1
    assert again[0].body.startswith("From 0 Mon Sep 17 00:00:00 2001\n")


def test_crlf_mail_and_mbox() -> None:
    for data in (text(), join_mbox([text()])):
        (one,) = read_mails(data.replace(b"\n", b"\r\n"), "test")
        assert one.is_patch
        assert "\r" not in one.body


def test_carriage_returns_of_the_patched_file_stay() -> None:
    assert b"+b\r\n" in mail(body=DIFF.replace("+b\n", "+b\r\n")).raw


def test_a_bare_diff_is_a_patch_named_by_its_file() -> None:
    (one,) = read_mails(DIFF.encode(), "folder/fix.diff")
    assert one.is_patch
    assert (one.title, one.message_id, one.prefixed) == ("fix.diff", None, False)
    assert one.raw == DIFF.encode()
    (two,) = read_mails(b"commit 0123\n\n    words\n\n" + DIFF.encode(), "fix.diff")
    assert two.is_patch


@pytest.mark.parametrize("data", [b"", b" \n\n", b"hello\n", b"\x7fELF\x00\x00", b"<html>\n<body>404</body>"])
def test_what_is_no_patch_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError) as caught:
        read_mails(data, "thing")
    assert "thing" in caught.value.message
    assert caught.value.hint


def test_enormous_headers_are_refused() -> None:
    with pytest.raises(UsageError, match="headers are larger"):
        mail(more="X-Junk: " + "x" * 300_000 + "\n")


def test_endless_nesting_is_refused() -> None:
    nested = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(5000))
    with pytest.raises(UsageError, match="cannot be read"):
        read_mail(("Subject: [PATCH] x\n" + nested).encode(), "test")


@pytest.mark.parametrize(
    "subject",
    [
        "=?x-none?q?abc?=",
        "=?utf-8?b?!!!!?=",
        "[" * 5000,
        "[PATCH " + "1/" * 5000 + "]",
        "\x00\x1b[2J",
        "=?utf-8?q?=0A=0DX?=",
    ],
)
def test_hostile_subjects_stay_one_line(subject: str) -> None:
    one = mail(subject)
    assert "\n" not in one.subject + one.title
    assert one.title


def test_unknown_charsets_are_read_as_best_as_can_be() -> None:
    assert mail(more="Content-Type: text/plain; charset=x-klingon\n").is_patch


def test_what_begins_like_a_mail() -> None:
    assert has_headers(b"From 0 Mon Sep 17 00:00:00 2001\n")
    assert has_headers(b"\nX-Any: thing\n")
    assert not has_headers(b"diff --git a/f b/f\n")
    assert not has_headers(b"--- a/f\n")
    assert not has_headers(b"Index: f\n")


def test_split_of_something_that_is_no_mbox() -> None:
    assert split_mbox(b"words\n") == [b"words\n"]


@pytest.mark.parametrize("charset", ["idna", "undefined", "punycode", "a\0b", "no-such", "hex", "rot13"])
@pytest.mark.parametrize("name", ["Subject", "From", "Message-ID", "References", "In-Reply-To"])
def test_a_charset_that_decodes_nothing_spoils_no_mail(charset: str, name: str) -> None:
    raw = f"X: y\n{name}: =?{charset}?q?=ffone?=\n\n{BODY}".encode()
    assert read_mail(raw, "test").body == BODY


@pytest.mark.parametrize("charset", ["idna", "undefined", "punycode", "no-such", "hex"])
def test_a_body_in_such_a_charset_is_read_as_far_as_it_goes(charset: str) -> None:
    assert "diff --git" in mail(more=f"Content-Type: text/plain; charset={charset}\n").body


@pytest.mark.parametrize(
    ("line", "dated"),
    [
        ("From 0 Mon Sep 17 00:00:00 2001", True),
        ("From a@b Mon Sep 17 1:00 2001 \t\r", True),
        ("From a 1:00 1:00 2001", True),
        ("From a 12001", False),
        ("From a 1:00 12001", False),
        ("From a 2001 1:00", False),
        ("From a 1:00", False),
        ("From  1:00 2001", False),
        ("From 1:00 2001", False),
        ("From", False),
    ],
)
def test_a_from_line_has_a_time_and_a_year_last(line: str, dated: bool) -> None:
    escaped = f"\n>{line}\n" in join_mbox([f"Subject: x\n\n{line}\n".encode()]).decode()
    assert escaped == dated
    mbox = f"From 0 Mon Sep 17 00:00:00 2001\nSubject: x\n\n>>{line}\n{line}\nX: y\n".encode()
    first, *rest = split_mbox(mbox)
    assert (f">>{line}\n".encode() in first, bool(rest)) == (not dated, dated)


def test_a_line_of_times_is_read_once() -> None:
    """By one pattern this takes minutes."""
    line = b"From a " + b"1:00 " * 100_000
    mail = b"Subject: x\n\n" + line + b"\n>" + line + b"\n"
    assert split_mbox(join_mbox([mail])) == [mail + b"\n"]


def test_a_header_of_a_page_is_not_decoded() -> None:
    coded = "=?utf-8?q?x?= "
    assert mail("[PATCH] " + coded * 200).title == "x" * 200
    assert mail("[PATCH] " + coded * 1000).title.startswith("=?utf-8?q?x?= =?utf-8")
