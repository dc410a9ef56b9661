# SPDX-License-Identifier: GPL-2.0-only
"""A complaint belongs to the patch that adds it, by text; what was not asked is never clean."""

from __future__ import annotations

from harness.model.complaint import Added, Answer, Complaint, attribute, minus

UNUSED = Complaint("a.c", "warning: unused variable 'x'", 10)
MOVED = Complaint("a.c", "warning: unused variable 'x'", 99)
OTHER = Complaint("b.c", "warning: shadowed", 3)
SIGN = Complaint("", "ERROR:MISSING_SIGN_OFF: Missing Signed-off-by: line(s)")


def test_code_that_moves_is_no_news() -> None:
    report = attribute("gcc", "12", [Answer((UNUSED,)), Answer((MOVED,))])
    assert (report.added, report.gone, report.state) == ((), (), "clean")


def test_a_second_one_of_the_same_text_is_new() -> None:
    assert minus([UNUSED, MOVED], [UNUSED]) == [MOVED]
    report = attribute("gcc", "12", [Answer((UNUSED,)), Answer((UNUSED, MOVED))])
    assert [(a.patch, a.complaint.line) for a in report.added] == [(1, 99)]


def test_a_swap_is_seen_although_the_number_is_the_same() -> None:
    report = attribute("gcc", "12", [Answer((UNUSED,)), Answer((OTHER,))])
    assert [a.complaint for a in report.added] == [OTHER]
    assert report.gone == (UNUSED,)
    assert report.state == "complains"


def test_the_patch_that_adds_it_is_named_and_the_one_that_takes_it_away() -> None:
    answers = [Answer(), Answer((UNUSED,)), Answer((UNUSED, OTHER)), Answer((OTHER,))]
    report = attribute("gcc", "12", answers)
    assert report.added == (Added(UNUSED, 1, 1, fixed=3), Added(OTHER, 2, 2))
    assert [a.complaint for a in report.left] == [OTHER]
    assert report.gone == ()


def test_what_comes_back_belongs_to_the_patch_that_brings_it_back() -> None:
    report = attribute("gcc", "12", [Answer(), Answer((UNUSED,)), Answer(), Answer((UNUSED,))])
    assert [(a.patch, a.fixed) for a in report.added] == [(1, 2), (3, 0)]


def test_one_of_several_when_a_prefix_was_not_asked() -> None:
    report = attribute("gcc", "12", [Answer(), Answer(not_asked="does not apply"), Answer((UNUSED,))])
    assert report.added == (Added(UNUSED, 2, 1),)
    assert report.not_asked == {1: "does not apply"}


def test_silence_of_a_check_that_was_not_asked_is_not_clean() -> None:
    gone = Answer(not_asked="sparse is not installed")
    assert attribute("sparse", "", [gone, gone]).state == "not asked"
    assert attribute("sparse", "", [Answer(), gone]).state == "not asked"
    assert attribute("sparse", "", [gone, Answer((UNUSED,))]).state == "not asked"  # new or old, nobody knows


def test_what_a_mail_says_is_its_own_whatever_the_base() -> None:
    report = attribute("checkpatch", "", [Answer((SIGN,)), Answer((SIGN,), own=(SIGN,))])
    assert [(a.patch, a.complaint) for a in report.added] == [(1, SIGN)]


def test_the_same_in_mail_and_file_is_told_once() -> None:
    report = attribute("checkpatch", "", [Answer(), Answer((UNUSED,), own=(MOVED,)), Answer()])
    assert [(a.patch, a.fixed) for a in report.added] == [(1, 2)]
    assert report.gone == ()
