# SPDX-License-Identifier: GPL-2.0-only
"""What a review tells a person: verdict first, what was not asked is never green, nothing hostile comes through."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.model.complaint import Answer, Complaint, attribute
from harness.model.finding import Finding, Kind
from harness.model.judge import ATTEMPTS, LaneResults, judge
from harness.model.report import LaneReport, Report
from harness.model.result import Outcome, Result
from harness.model.review import Review
from harness.model.revision import Carried, Previous, Remark, changed
from harness.model.standing import Landed, Place, Standing
from harness.reporters import page
from harness.reporters import review as reporter
from harness.reporters.page.review import sections

HOSTILE = "evil\x1b[31m \u202e\nGOOD  all is well"
LEAK = Finding(Kind.LEAK, "leak of bytes", "LEAK:bytes", "leak of bytes: 1 before the test, 2 after it")
P, F = Outcome.PASS, Outcome.FAIL


def lane(outcome: Outcome, times: int = 1) -> LaneResults:
    findings = (LEAK,) if outcome is F else ()
    found = [Result("t.py::test_leak", outcome, "said", n + 1, 0.1, findings) for n in range(times)]
    return LaneResults((Result("stage/build", P), *found, Result("t.py::test_other", P)))


def report(base: LaneResults, head: LaneResults, run: str) -> Report:
    lanes = {name: LaneReport(name, "7.3.4", answers.results) for name, answers in (("base", base), ("head", head))}
    return Report(Path(run), "a series", judge(base, head), lanes, "emulated-npu4")


@pytest.fixture
def review() -> Review:
    old, new, base = lane(F, 2), lane(P), lane(P, ATTEMPTS)
    ours = (
        attribute("checkpatch", "perl", [Answer(), Answer(own=(Complaint("", f"ERROR:MISSING_SIGN_OFF: {HOSTILE}"),))]),
        attribute("gcc W=1", "gcc 12", [Answer(), Answer(gaps=("x.c is not the driver's: not compiled",))]),
        attribute("smatch", "", [Answer(not_asked="smatch is not installed")] * 2),
    )
    previous = Previous(
        "v1.mbox",
        "named",
        HOSTILE,
        1,
        range_diff=("1:  a ! 1:  b x", f"    +{HOSTILE}"),
        report=report(base, old, "runs/1/previous"),
        changed=changed(old, new),
        carried=Carried(missing=("Tested-by: T <t@example.org>",)),
        remarks=(Remark(HOSTILE, "Re: x", "r@x", (), 3, False, "not answered on the list"),),
    )
    stands = Standing("", (), 3, "package linux 7.3", (Landed(1, Place.OUT, "it applies"),))
    return Review(report(base, new, "runs/1"), (HOSTILE,), ours, stands, previous, "", ("xdna-harness", "review", "x"))


def test_the_order_in_which_a_reviewer_reads(review: Review) -> None:
    said = reporter.render(review)
    order = ["GOOD  a series", "static checks", "against v1", "where it stands", "where to look", "again: "]
    assert [said.index(word) for word in order] == sorted(said.index(word) for word in order)


def test_a_leak_that_is_gone_is_said_with_the_test_that_shows_it(review: Review) -> None:
    said = reporter.render(review)
    assert "better: t.py::test_leak: FAIL (2 of 2) in v1, worse than base; PASS now" in said
    assert "gone: LEAK: leak of bytes: 1 before the test, 2 after it" in said


def test_what_was_not_asked_is_not_among_the_clean(review: Review) -> None:
    said = reporter.render(review)
    assert "  nothing new from gcc W=1\n" in said
    assert "  not asked: smatch: smatch is not installed\n" in said
    assert "  gcc W=1: x.c is not the driver's: not compiled\n" in said
    assert [check.name for check in review.not_asked] == ["smatch"]


def test_nothing_hostile_comes_through(review: Review) -> None:
    said = reporter.render(review)
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert [line for line in said.splitlines() if line.startswith("GOOD")] == ["GOOD  a series"]


def test_json_has_all_of_it(review: Review) -> None:
    told = json.loads(reporter.as_json(review))
    assert told["report"]["verdict"] == "GOOD"
    assert [check["state"] for check in told["checks"]] == ["complains", "clean", "not asked"]
    assert told["previous"]["changed"][0]["test"] == "t.py::test_leak"
    assert told["previous"]["remarks"][0]["open"] is True
    assert told["standing"]["merged"] == "not in the tree"
    assert told["standing"]["newer"] == 3


def test_no_previous_revision_says_why(review: Review) -> None:
    said = reporter.render(replace(review, previous=None, no_previous="the list has none"))
    assert "previous revision: the list has none" in said
    assert "previous revision" not in reporter.render(replace(review, previous=None))


def test_a_revision_that_was_not_asked_is_not_as_before(review: Review) -> None:
    assert review.previous is not None
    silent = replace(review, previous=replace(review.previous, report=None, changed=(), no_report="no disk"))
    for said in (reporter.render(silent), page.render(silent.report, sections(silent))):
        assert "v1 was not asked" in said
        assert "no disk" in said
        assert "as before" not in said
        assert "0 worse" not in said


def test_tests_that_could_not_be_compared_are_counted(review: Review) -> None:
    assert review.previous is not None
    tests = tuple(f"t.py::test_{number}" for number in range(7))
    some = replace(review, previous=replace(review.previous, changed=(), not_compared=tests))
    for said in (reporter.render(some), page.render(some.report, sections(some))):
        assert "7 tests could not be compared: t.py::test_0, " in said
        assert "t.py::test_4 and 2 more" in said
        assert "as before" not in said
    assert json.loads(reporter.as_json(some))["previous"]["not_compared"] == list(tests)
    same = replace(review, previous=replace(review.previous, changed=()))
    for said in (reporter.render(same), page.render(same.report, sections(same))):
        assert "every test comes out as before" in said


def test_a_test_that_is_missing_is_called_so(review: Review) -> None:
    assert review.previous is not None
    gone = changed(lane(P), LaneResults((Result("stage/build", P), Result("t.py::test_other", P))))
    said = reporter.render(replace(review, previous=replace(review.previous, changed=gone)))
    assert "uncertain: t.py::test_leak: PASS in v1, worse than base; missing now" in said


def test_the_page_has_its_sections_and_nothing_hostile(review: Review) -> None:
    html = page.render(review.report, sections(review))
    for words in ("Static checks", "Against v1", "Where it stands", "smatch is not installed"):
        assert words in html
    assert "gone: LEAK: leak of bytes: 1 before the test, 2 after it" in html
    assert "\x1b" not in html
    assert "\u202e" not in html


def test_markup_in_a_complaint_stays_text(review: Review) -> None:
    evil = "<script>alert(1)</script>"
    ours = attribute("checkpatch", "perl", [Answer(), Answer(own=(Complaint(evil, evil),))])
    html = page.render(review.report, sections(replace(review, checks=(ours,), patches=(evil,))))
    assert evil not in html
    assert "&lt;script&gt;alert(1)" in html
