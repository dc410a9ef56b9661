# SPDX-License-Identifier: GPL-2.0-only
"""Which mails are which series."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.formats.mail import Mail, read_mail
from harness.formats.thread import choose, groups, holding

DIFF = "diff --git a/f b/f\nindex 1111111..2222222 100644\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n"


def mail(subject: str, own: str | None = None, answers: str | None = None, body: str = DIFF) -> Mail:
    head = f"From: a@example.com\nSubject: {subject}\n"
    head += f"Message-ID: <{own}>\n" if own else ""
    head += f"In-Reply-To: <{answers}>\n" if answers else ""
    return read_mail(f"{head}\n{body}".encode(), "test")


def threaded(revision: int, total: int, answers: str | None = None, title: str = "accel") -> list[Mail]:
    cover = f"c{revision}-{title}@x"
    return [
        mail(f"[PATCH v{revision} 0/{total}] {title}", cover, answers, "words\n"),
        *(mail(f"[PATCH v{revision} {n}/{total}] part {n}", f"{n}-{cover}", cover) for n in range(1, total + 1)),
    ]


def titles(mails: list[Mail]) -> list[list[str]]:
    return [[m.subject for m in group.mails] for group in groups(mails)]


def test_a_thread_is_one_series_in_its_order() -> None:
    mails = threaded(1, 3)
    (group,) = groups([mails[2], mails[0], mails[3], mails[1]])
    assert [m.counter for m in group.mails] == [0, 1, 2, 3]
    assert group.missing() == []
    assert group.message_id == "c1-accel@x"


def test_answers_are_no_part_of_it() -> None:
    mails = [*threaded(1, 1), mail("Re: [PATCH v1 1/1] part 1", "r@x", "1-c1-accel@x")]
    (group,) = groups(mails)
    assert len(group.mails) == 2
    assert holding([group], "r@x", mails) is group


def test_missing_patches_are_counted() -> None:
    mails = threaded(1, 5)
    (group,) = groups([m for m in mails if m.counter not in (2, 4)])
    assert group.missing() == [2, 4]


def test_mails_without_a_thread_are_put_together_by_number() -> None:
    assert titles([mail("[PATCH 1/2] a", "1@x"), mail("[PATCH 2/2] b", "2@x")]) == [["[PATCH 1/2] a", "[PATCH 2/2] b"]]
    assert (
        len(titles([mail("[PATCH 1/2] a"), mail("[PATCH 2/2] b"), mail("[PATCH 1/2] c"), mail("[PATCH 2/2] d")])) == 2
    )


def test_unnumbered_patches_without_message_ids_are_one_series() -> None:
    assert len(titles([mail("[PATCH] a"), mail("[PATCH] b")])) == 1


def test_unnumbered_patches_with_message_ids_are_asked_for() -> None:
    found = groups([mail("[PATCH] a", "1@x"), mail("[PATCH] b", "2@x")])
    with pytest.raises(UsageError, match=r"holds 2 series: 'a' <1@x>; 'b' <2@x>") as caught:
        choose(found, "box", "box#ID")
    assert "box#ID" in caught.value.hint


def test_a_series_without_cover_next_to_one_with_is_two() -> None:
    mails = [
        mail("[PATCH 1/2] a", "1@x"),
        mail("[PATCH 2/2] b", "2@x", "1@x"),
        *threaded(1, 2, title="other"),
    ]
    assert [len(group.mails) for group in groups(mails)] == [2, 3]


@pytest.mark.parametrize("answers", [None, "c1-accel@x"])
def test_of_revisions_the_latest_is_taken_and_said(answers: str | None) -> None:
    mails = [*threaded(1, 2), *threaded(2, 2, answers)]
    group, notes = choose(groups(mails), "box", "")
    assert group.revision == 2
    assert notes == ["box holds v1, v2: v2 was taken"]


def test_revisions_with_other_titles_are_known_by_change_id_or_thread() -> None:
    one = mail("[PATCH] old title", "1@x", None, DIFF + "change-id: 20260101-foo\n")
    two = mail("[PATCH v2] new title", "2@x", None, DIFF + "change-id: 20260101-foo\n")
    assert choose(groups([one, two]), "box", "")[0].revision == 2
    three = mail("[PATCH v3] newest title", "3@x")
    with pytest.raises(UsageError, match="holds 2 series"):
        choose(groups([two, three]), "box", "")


def test_nothing_to_choose() -> None:
    with pytest.raises(UsageError, match="holds no patch"):
        choose(groups([mail("hello", "1@x", None, "words")]), "box", "")
    with pytest.raises(UsageError, match="cover letter 'accel' but no patch"):
        choose(groups(threaded(1, 2)[:1]), "box", "")


def test_mails_that_answer_each_other_in_a_circle() -> None:
    one, two = mail("[PATCH 1/2] a", "1@x", "2@x"), mail("[PATCH 2/2] b", "2@x", "1@x")
    assert sum(len(group.mails) for group in groups([one, two])) == 2
