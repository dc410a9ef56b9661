# SPDX-License-Identifier: GPL-2.0-only
"""What mails tell of a review, and what they do not."""

from __future__ import annotations

from harness.formats.mail import Mail, read_mail
from harness.formats.remarks import given, remarks

DIFF = "diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n"


def mail(own: str, sender: str, subject: str, body: str, answers: str = "") -> Mail:
    head = f"From: {sender} <{sender.lower()}@example.org>\nSubject: {subject}\nMessage-ID: <{own}@x>\n"
    head += f"In-Reply-To: <{answers}@x>\n" if answers else ""
    return read_mail(f"{head}\n{body}".encode(), "test")


PATCH = mail("p", "Ann", "[PATCH] x: a", f"Why.\n\n---\n{DIFF}")
ASKS = mail("q", "Bob", "Re: [PATCH] x: a", "> +b\n\nWhy b?\n", "p")


def state(*replies: Mail, now: tuple[str, ...] = ()) -> list[str]:
    return [remark.state for remark in remarks([PATCH, *replies], [PATCH], now, "v2")]


def test_a_remark_that_nobody_answered_is_open() -> None:
    (found,) = remarks([PATCH, ASKS], [PATCH], (), "v2")
    assert (found.quoted, found.answered, found.open) == (1, False, True)
    assert found.state == "not answered on the list; whether v2 does what it asks, no mail says"


def test_the_author_answers_and_that_answer_is_no_remark() -> None:
    back = mail("r", "Ann", "Re: [PATCH] x: a", "> Why b?\n\nBecause.\n", "q")
    # As mailers do, the whole way back to the patch.
    back = read_mail(back.raw.replace(b"In-Reply-To", b"References: <p@x> <q@x>\nIn-Reply-To"), "test")
    (found,) = remarks([PATCH, ASKS, back], [PATCH], (), "v2")
    assert (found.answered, found.open) == (True, False)
    assert found.state.startswith("answered on the list; whether v2 does")


def test_a_trailer_on_the_next_revision_speaks_for_its_author() -> None:
    assert state(ASKS, now=("Reviewed-by: Bob <bob@example.org>",)) == ["its author gave Reviewed-by on v2"]


def test_a_trailer_in_the_answer_is_taken() -> None:
    fine = mail("f", "Bob", "Re: [PATCH] x: a", "> +b\n\nReviewed-by: Bob <bob@example.org>\n", "p")
    found = remarks([PATCH, fine], [PATCH], (), "v2")
    assert given(found) == ("Reviewed-by: Bob <bob@example.org>",)
    assert not found[0].open


def test_an_answer_to_something_else_is_not_ours() -> None:
    assert state(mail("z", "Bob", "Re: other", "> x\n\nNo.\n", "other")) == []


NEXT = mail("n", "Ann", "[PATCH v2] x: a", f"Why.\n\n---\n{DIFF}", "p")


def in_thread(one: Mail) -> Mail:
    """As mailers do: all the way up to the first revision."""
    return read_mail(one.raw.replace(b"In-Reply-To", b"References: <p@x> <n@x>\nIn-Reply-To"), "test")


def test_an_answer_to_the_next_revision_is_not_one_to_this() -> None:
    fine = mail("f", "Bob", "Re: [PATCH v2] x: a", "> +b\n\nReviewed-by: Bob <bob@example.org>\n", "n")
    asks = mail("c", "Cat", "Re: [PATCH v2] x: a", "> +b\n\nNo.\n", "n")
    thread = [PATCH, NEXT, *map(in_thread, (fine, asks, ASKS))]
    assert [r.message_id for r in remarks(thread, [PATCH], (), "v2")] == ["q@x"], "as its In-Reply-To says"
    assert [r.message_id for r in remarks(thread, [NEXT], (), "v3")] == ["f@x", "c@x"]


def test_an_author_that_nobody_can_parse_is_an_author() -> None:
    odd = mail("q", "(" * 3000, "Re: [PATCH] x: a", "Why?\n", "p")
    (found,) = remarks([PATCH, odd], [PATCH], (), "v2")
    assert found.author.startswith("((")
