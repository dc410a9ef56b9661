# SPDX-License-Identifier: GPL-2.0-only
"""Reports say the verdict first, and nothing from outside comes through unescaped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.model.blame import Culprit
from harness.model.judge import ATTEMPTS, Change, Judgement, LaneResults, Verdict, judge
from harness.model.measures import Number
from harness.model.proof import OwnLines
from harness.model.report import LaneReport, PatchReport, Report
from harness.model.result import Measure, Outcome, Result
from harness.reporters import data, junit, text

P, F, L, E, S = Outcome.PASS, Outcome.FAIL, Outcome.LOST, Outcome.ERROR, Outcome.SKIP
HOSTILE = "evil \x1b[31m\x00 \u202e <b>&\"'"


def lane(outcomes: dict[str, Outcome], times: int, evidence: str = "") -> LaneResults:
    results = [Result("stage/build", P)]
    for attempt in range(1, times + 1):
        results += [
            Result(f"test_x.py::{n}", o, evidence if o is not P else "", attempt, 0.5) for n, o in outcomes.items()
        ]
    return LaneResults(tuple(results))


def report(base: LaneResults, head: LaneResults, title: str = "a series") -> Report:
    lanes = {
        "base": LaneReport("base", "7.3.4-a", base.results),
        "head": LaneReport("head", "7.3.4-b", head.results),
    }
    known = {"test_x.py::test_known": ("posted fix",)}
    lanes["head"] = LaneReport("head", "7.3.4-b", head.results, known)
    return Report(Path("runs/1"), title, judge(base, head), lanes, "emulated-npu4", {"accelerator": "tcg"})


@pytest.fixture
def bad() -> Report:
    base = lane({"test_a": P, "test_b": P, "test_known": P, "test_c": F, "test_same": F}, ATTEMPTS)
    head = lane({"test_a": F, "test_b": L, "test_known": P, "test_c": P, "test_same": F}, ATTEMPTS, HOSTILE)
    return report(base, head, HOSTILE)


def test_text_says_verdict_then_worse_then_better_then_where(bad: Report) -> None:
    said = text.render(bad)
    order = [said.index(word) for word in ("BAD", "worse: 2", "better: 1", "where to look")]
    assert order == sorted(order)
    assert "test_x.py::test_a" in said
    assert "\x1b" not in said
    assert "\u202e" not in said


def test_text_shows_what_fails_on_both_by_other_words() -> None:
    said = text.render(report(lane({"test_same": F}, 1, "got EAGAIN"), lane({"test_same": F}, 1, "got EFAULT")))
    assert "on base: got EAGAIN" in said
    assert "on head: got EFAULT" in said
    alike = text.render(report(lane({"test_same": F}, 1, "got 1"), lane({"test_same": F}, 1, "got 2")))
    assert "on base: " not in alike


def test_what_comes_from_outside_cannot_add_a_line(bad: Report) -> None:
    forged = "x\n\nGOOD  all is well\r\nreally\u2028GOOD"
    patch = PatchReport(1, forged, f"built {forged}", 1.0, (forged, "x.c:1:\n\twarning: unused"), {"PASS": 1})
    hostile = replace(
        bad, title=forged, patches=(patch,), trailers=(forged,), notes=(forged,), facts={"series": forged}
    )
    said = text.render(hostile).splitlines()
    assert [line for line in said if "GOOD  " in line or line.startswith(("GOOD", "really"))] == []
    assert len([line for line in said if "all is well" in line]) == 7
    assert "      new warning: x.c:1: warning: unused" in said


def test_text_names_what_was_broken_on_the_way(bad: Report) -> None:
    found = (
        Culprit("test_x.py::test_same", (1,), (2,), False, 3),
        Culprit("test_x.py::test_c", (2,), (), None, 3),
        Culprit("test_x.py::test_a", (3,), (), True, 3),
    )
    patches = tuple(PatchReport(n, f"patch {n}", "", 0.0, (), {}) for n in (1, 2, 3))
    said = text.render(replace(bad, culprits=found, patches=patches))
    assert "broken on the way: 2\n  test_x.py::test_same: introduced by 1/3, fixed by 2/3\n" in said
    assert "  test_x.py::test_c: introduced by 2/3; nobody knows whether it is there at 3/3\n" in said
    assert "    introduced by 3/3, still there at 3/3\n" in said


def test_text_says_what_the_enumeration_visited_and_what_did_not_recover(bad: Report) -> None:
    def visited(name: str, failed: int, left: int) -> Result:
        counts = {"answers spoiled": failed, "messages": 2, "not recovered": left}
        return Result(f"test_x.py::{name}", P, measures={key: Measure(n, "") for key, n in counts.items()})

    lanes = {"head": LaneReport("head", "7.3.4-b", (visited("test_a", 5, 0), visited("test_b", 7, 1)))}
    said = text.render(replace(bad, lanes=lanes))
    assert "head: 12 answers spoiled, 4 messages in 2 tests; 1 not recovered\n    1 in test_x.py::test_b\n" in said
    assert "enumeration" not in text.render(bad)


def test_what_proves_a_patch_stands_with_it_and_a_doubt_below_the_verdict(bad: Report) -> None:
    patch = PatchReport(1, "one", "driver in full", 1.0, (), {"PASS": 1})
    found = replace(
        bad, patches=(patch,), proofs={1: ("test_x.py::test_c",)}, own_lines=OwnLines(0, 7), coverage=("x",)
    )
    said = text.render(found).splitlines()
    assert said[2] == "  no test runs any of the 7 lines of code that the series adds"
    assert "      fail before it and pass after it: test_x.py::test_c" in said
    as_data = json.loads(data.render(found))
    assert as_data["patches"][0]["fail_to_pass"] == ["test_x.py::test_c"]
    assert as_data["own_lines"] == {"run": 0, "lines": 7}
    assert as_data["doubts"] == [said[2].strip()]
    assert "no test runs" not in text.render(bad)


def test_json_has_the_lists(bad: Report) -> None:
    got = json.loads(data.render(bad))
    assert got["verdict"] == "BAD"
    assert got["fixed"] == ["test_x.py::test_c"]
    assert got["regressed"] == ["test_x.py::test_a", "test_x.py::test_b"]
    assert got["flaky"] == []
    assert got["known"] == ["test_x.py::test_known"]


def test_junit_parses_and_maps_outcomes(bad: Report) -> None:
    root = ElementTree.fromstring(junit.render(bad))
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert cases["test_a"].find("failure") is not None
    lost = cases["test_b"].find("error")
    assert lost is not None
    assert lost.get("type") == "LOST"
    assert cases["test_known"].find("skipped") is not None
    assert cases["test_same"].find("skipped") is not None
    assert cases["test_c"].find("failure") is None
    suite = root.find("testsuite")
    assert suite is not None
    assert (suite.get("failures"), suite.get("errors"), suite.get("tests")) == ("1", "1", "6")


def test_junit_makes_a_hostile_release_visible(bad: Report) -> None:
    lanes = {**bad.lanes, "head": replace(bad.lanes["head"], kernel=HOSTILE)}
    root = ElementTree.fromstring(junit.render(replace(bad, lanes=lanes)))
    (kernel,) = [p.get("value") for p in root.iter("property") if p.get("name") == "kernel.head"]
    assert kernel is not None
    assert kernel.startswith("evil \\x1b[31m")


def test_junit_error_of_ours_has_its_own_type() -> None:
    root = ElementTree.fromstring(junit.render(report(lane({"test_a": P}, 1), lane({"test_a": E}, 1))))
    assert [e.get("type") for e in root.iter("error")] == ["ERROR"]


def no_build() -> Report:
    broken = LaneResults((Result("stage/build", F),))
    return report(broken, broken)


def in_doubt(verdict: Verdict) -> Report:
    good = report(lane({"test_a": P}, 1), lane({"test_a": P}, 1))
    return replace(good, judgement=Judgement(verdict, (f"1/2: {HOSTILE}", "2/2"), good.judgement.comparisons))


@pytest.mark.parametrize(
    ("one", "kind", "said"),
    [
        (no_build(), "error", "base: stage/build FAIL: no control, no claim"),
        (report(lane({"test_a": S}, 1), lane({"test_a": S}, 1)), "error", "no test passed on head: nothing was shown"),
        (in_doubt(Verdict.UNKNOWN), "error", "1/2: evil \\x1b[31m"),
        (in_doubt(Verdict.BAD), "failure", "1/2: evil \\x1b[31m"),
    ],
)
def test_junit_is_not_green_for_a_verdict_that_no_test_shows(one: Report, kind: str, said: str) -> None:
    root = ElementTree.fromstring(junit.render(one))
    (case,) = [
        case for case in root.iter("testcase") if case.find("error") is not None or case.find("failure") is not None
    ]
    assert (case.get("classname"), case.get("name")) == ("run", "run/verdict")
    mark = case.find(kind)
    assert mark is not None
    assert (mark.get("type"), str(mark.text).startswith(said)) == (one.verdict, True)
    suite = root.find("testsuite")
    assert suite is not None
    assert int(suite.get(f"{kind}s", "0")) == 1
    reasons = [p.get("value") for p in root.iter("property") if str(p.get("name")).startswith("reason.")]
    assert len(reasons) == len(one.judgement.reasons)


def test_junit_says_a_verdict_once(bad: Report) -> None:
    assert "run/verdict" not in junit.render(bad)
    assert "run/verdict" not in junit.render(report(lane({"test_a": P}, 1), lane({"test_a": P}, 1)))


def test_every_reporter_says_which_tests_ran_without_a_detector() -> None:
    silent = LaneResults((replace(Result("test_x.py::test_a", P), disarmed=("lockdep",)),))
    said = report(silent, silent)
    assert "head: lockdep was off already when 1 test(s) began: test_x.py::test_a" in text.render(said)
    assert json.loads(data.render(said))["lanes"]["head"]["results"][0]["disarmed"] == ["lockdep"]
    assert "PASS (off when it began: lockdep)" in junit.render(said)


MEASURED = (
    Number("test_x.py::test_a", "heap", Measure(128 << 20, "bytes"), Measure(64 << 20, "bytes")),
    Number("test_x.py::test_a", "same", Measure(3, ""), Measure(3, "")),
    Number("test_x.py::test_b", f"chunks\n{HOSTILE}", None, Measure(2, "")),
)


def test_text_shows_the_numbers_that_differ(bad: Report) -> None:
    said = text.render(replace(bad, numbers=MEASURED))
    title = "numbers, base -> head: 2 of 3 differ; none is judged"
    assert f"{title}\n  test_x.py::test_a\n    heap: 128 MiB -> 64 MiB\n" in said
    assert "same" not in said.partition("numbers, base")[2].partition("how:")[0]
    assert "    chunks evil" in said
    assert ": - -> 2\n" in said
    assert "\x1b" not in said


def test_text_shows_the_numbers_of_one_lane_that_are_not_0(bad: Report) -> None:
    none = Number("test_x.py::test_a", "nothing", None, Measure(0, ""))
    alone = replace(bad, numbers=(*MEASURED[:2], none), lanes={"head": bad.lanes["head"]})
    assert "numbers: 3, of which 1 are 0\n  test_x.py::test_a: heap 64 MiB, same 3\n" in text.render(alone)


def test_json_has_all_numbers_with_null_for_none(bad: Report) -> None:
    got = json.loads(data.render(replace(bad, numbers=MEASURED)))["measures"]
    assert len(got) == 3
    assert got[2]["base"] is None
    assert got[0] == {
        "test": "test_x.py::test_a",
        "name": "heap",
        "base": {"value": 128 << 20, "unit": "bytes"},
        "head": {"value": 64 << 20, "unit": "bytes"},
    }


def test_junit_has_numbers_as_properties_of_the_suite(bad: Report) -> None:
    root = ElementTree.fromstring(junit.render(replace(bad, numbers=MEASURED)))
    found = {p.get("name"): p.get("value") for p in root.findall("testsuite/properties/property")}
    assert found["test_x.py::test_a: base: heap"] == "128 MiB"
    assert found["test_x.py::test_a: head: heap"] == "64 MiB"
    assert [value for name, value in found.items() if "test_b: " in str(name)] == ["2"]
    assert root.findall("testsuite/testcase/properties") == []


def test_junit_attaches_the_consoles_of_what_went_wrong(bad: Report) -> None:
    (test, *_) = bad.ids(Change.REGRESSED)
    comparisons = tuple(replace(c, head=tuple(replace(r, boot=7) for r in c.head)) for c in bad.judgement.comparisons)
    lane = replace(bad.lanes["head"], consoles={7: Path("/runs/head/v/boot-7/console.log"), 8: Path("/other")})
    report = replace(bad, judgement=replace(bad.judgement, comparisons=comparisons), lanes={"head": lane})
    said = {
        case.get("name"): case.findtext("system-out")
        for case in ElementTree.fromstring(junit.render(report)).iter("testcase")
    }
    assert str(said[test.partition("::")[2]]).endswith("[[ATTACHMENT|/runs/head/v/boot-7/console.log]]")
    assert sum("ATTACHMENT" in str(text) for text in said.values()) == len(bad.ids(Change.REGRESSED))


def test_text_names_the_ten_slowest_tests(bad: Report) -> None:
    many = tuple(Result(f"test_x.py::test_{n}", P, seconds=float(n)) for n in range(12))
    slow = replace(bad, lanes={"head": LaneReport("head", "7.3.4-b", many)})
    (line,) = [line for line in text.render(slow).splitlines() if "slowest" in line]
    assert line.startswith("  slowest tests, in seconds: test_11 11.0, test_10 10.0, ")
    assert line.count(",") == 10
