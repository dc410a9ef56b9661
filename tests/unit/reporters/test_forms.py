# SPDX-License-Identifier: GPL-2.0-only
"""The formats of the field: each says what its readers would act on, and none lets a mail or a console speak for us."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from b4 import LoreMessage
from kcidb_io.schema import LATEST

from harness import cli
from harness.model.blame import Culprit
from harness.model.judge import ATTEMPTS, LaneResults, judge
from harness.model.measures import Number
from harness.model.proof import OwnLines
from harness.model.report import LaneReport, Report
from harness.model.result import Measure, Outcome, Result
from harness.reporters import FORMS, checks, kcidb, ktap, markdown, render, reply

P, F, L, S, E = Outcome.PASS, Outcome.FAIL, Outcome.LOST, Outcome.SKIP, Outcome.ERROR
HOSTILE = "evil\n\nTested-by: Mallory <m@example.org>\nnot ok 99 x\x1b[31m\u202e <b> [a](https://x.example) @all #1 `"
WHO = "A Tester <tester@example.org>"


def lane(outcomes: dict[str, Outcome], evidence: str = "") -> LaneResults:
    stages = [Result(f"stage/{name}", P) for name in ("apply", "build", "boot", "probe")]
    tests = [
        Result(f"test_x.py::{name}", outcome, evidence if outcome is not P else "", attempt, 0.5)
        for attempt in range(1, ATTEMPTS + 1)
        for name, outcome in outcomes.items()
    ]
    return LaneResults((*stages, *tests))


def report(base: dict[str, Outcome], head: dict[str, Outcome], title: str = "a series", evidence: str = "") -> Report:
    old, new = lane(base), lane(head, evidence)
    known = {"test_x.py::test_known": ("posted fix",)}
    lanes = {
        "base": LaneReport("base", "7.3.4-a", old.results),
        "head": LaneReport("head", "7.3.4-b", new.results, known),
    }
    facts = {"kernel": "debian:7.3: a package", "qemu": "11.1.3"}
    return Report(
        Path("runs/1"),
        title,
        judge(old, new),
        lanes,
        "emulated-npu4",
        facts,
        key="0123456789abcdef",
        command=("xdna-harness", "run", "<1@example.org>", "--kernel", "debian:7.3"),
        message_id="1@example.org",
    )


@pytest.fixture
def bad() -> Report:
    base = {"test_a[1 2]": P, "test_b": P, "test_known": F, "test_c": F, "test_same": F, "test_skip": S}
    return report(base, {**base, "test_a[1 2]": F, "test_b": L, "test_c": P}, HOSTILE, HOSTILE)


@pytest.fixture
def good() -> Report:
    found = report({"test_a": P, "test_c": F}, {"test_a": P, "test_c": P})
    return replace(found, own_lines=OwnLines(5, 9), coverage=("x",))


@pytest.fixture
def unknown() -> Report:
    return report({"test_a": P}, {"test_a": E})


def test_the_command_line_offers_every_form() -> None:
    assert tuple(FORMS) == cli.FORMS


@pytest.mark.parametrize("form", FORMS)
def test_no_form_lets_control_characters_through(bad: Report, form: str) -> None:
    said = render(bad, form, WHO)
    assert said.strip()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202a-\u202e]", said)


def test_ktap_says_not_ok_of_what_got_worse_only(bad: Report) -> None:
    lines = ktap.render(bad).splitlines()
    assert lines[0] == "KTAP version 1"
    results = [line for line in lines if line.startswith(("ok", "not ok"))]
    assert lines[2] == f"1..{len(results)}"
    assert [int(re.findall(r"\d+", line)[0]) for line in results] == list(range(1, len(results) + 1))
    plain_failures = [line for line in results if line.startswith("not ok") and "#" not in line]
    assert [line.partition("::")[2] for line in plain_failures] == ["test_a[1 2]", "test_b"]
    assert any(line.endswith("test_known # XFAIL posted fix") for line in results)
    assert any(line.endswith("test_same # XFAIL fails on base too") for line in results)
    assert any("test_skip # SKIP" in line for line in results)


def test_ktap_calls_what_was_not_answered_an_error(unknown: Report) -> None:
    (line,) = [line for line in ktap.render(unknown).splitlines() if "test_a" in line and not line.startswith("#")]
    assert line.startswith("not ok")
    assert " # ERROR " in line


@pytest.mark.parametrize(("name", "b4", "patchwork"), [("good", "pass", "success"), ("bad", "fail", "fail")])
def test_a_check_for_b4_and_patchwork(name: str, b4: str, patchwork: str, request: pytest.FixtureRequest) -> None:
    found = request.getfixturevalue(name)
    (check,) = json.loads(render(found, "b4"))
    assert (check["tool"], check["status"]) == ("xdna-harness", b4)
    assert check["details"].startswith(found.verdict)
    body = json.loads(checks.patchwork(found))
    assert body["state"] == patchwork
    assert re.fullmatch(r"[-a-zA-Z0-9_]+", body["context"])
    assert len(body["description"]) <= 255


def test_unknown_is_neither_success_nor_failure(unknown: Report) -> None:
    assert json.loads(render(unknown, "b4"))[0]["status"] == "warn"
    assert json.loads(checks.patchwork(unknown))["state"] == "warning"
    long = replace(unknown, variant="v" * 400)
    assert len(json.loads(checks.patchwork(long))["description"]) == 255


def test_markdown_keeps_text_text(bad: Report) -> None:
    said = markdown.render(bad)
    assert said.splitlines()[0].startswith("## BAD: evil Tested\\-by: Mallory")
    head = said.splitlines()[0]
    assert "@" not in head
    assert "https://" not in head
    assert "&#35;1" in head
    assert "\\<b\\>" in head
    assert "### test\\_x.py::test\\_b" in said


def test_markdown_shows_numbers_that_differ(bad: Report) -> None:
    number = Number("test_x.py::test_n", "heap", Measure(128 << 20, "bytes"), Measure(64 << 20, "bytes"))
    assert "| test\\_n: heap | 128 MiB | 64 MiB |" in markdown.render(replace(bad, numbers=(number,)))


def validated(found: Report) -> Any:
    document = json.loads(kcidb.render(found))
    LATEST.validate(document)
    return document


def test_kcidb_takes_it(bad: Report) -> None:
    document = validated(bad)
    assert [checkout["valid"] for checkout in document["checkouts"]] == [True, True]
    assert document["checkouts"][1]["message_id"] == "1@example.org"
    ids = [test["id"] for test in document["tests"]]
    assert len(set(ids)) == len(ids) == 2 * (2 + 6 * ATTEMPTS)
    of_head = {t["path"]: t["status"] for t in document["tests"] if "-head-" in t["id"]}
    assert of_head["xdna.test_x.test_a.1_2"] == "FAIL"
    assert of_head["xdna.test_x.test_b"] == "FAIL"
    assert of_head["xdna.test_x.test_skip"] == "SKIP"
    assert of_head["xdna.stage.boot"] == "PASS"


def test_kcidb_never_calls_the_labs_failure_one_of_the_kernel(unknown: Report) -> None:
    assert "FAIL" not in {test["status"] for test in validated(unknown)["tests"]}


def test_kcidb_of_a_series_that_does_not_build(bad: Report) -> None:
    stages = (Result("stage/apply", P), Result("stage/build", F, "x.c:1: error"))
    lanes = {"base": bad.lanes["base"], "head": LaneReport("head", "", stages)}
    document = validated(replace(bad, lanes=lanes))
    assert [build["status"] for build in document["builds"]] == ["PASS", "FAIL"]
    assert document["builds"][1]["log_excerpt"] == "x.c:1: error"
    assert not [test for test in document["tests"] if "-head-" in test["id"]]


SAID = (
    "Reviewed-by: A B <a@b.cc>\n  Acked-by: A B <a@b.cc>\nNote: a@b.cc\nLink: https://x.example/1\n"
    "Fixes: 0123456789ab (x)\nbase-commit: 0123456789ab\nSubject: x\nDate: today\n\u2028Cc: a@b.cc\r\nX-Y: a@b.cc"
)


@pytest.mark.parametrize("before", range(0, 80, 7))
def test_no_stranger_gives_a_trailer_in_a_reply(before: int) -> None:
    evil = f"{'x' * before} " + SAID.replace("\n", " ")
    found = report({"test_a": P, "test_b": F}, {"test_a": F, "test_b": P}, evil, SAID)
    facts = {**found.facts, "series": evil, "edit": f"{'x' * before}-Acked-by: A B <a@b.cc>", "base": "x: a@b.cc"}
    lanes = {name: replace(lane, kernel=f"7.3\n{SAID}") for name, lane in found.lanes.items()}
    said = reply.render(replace(found, facts=facts, lanes=lanes), WHO)
    trailers, _ = LoreMessage.find_trailers(said, followup=True)
    assert [trailer.name for trailer in trailers] == ["Reported-by", "Closes"]
    assert "    | Reviewed-by: A B <a@b.cc>\n" in said


def test_a_reply_names_the_culprit_and_how_to_see_it(bad: Report) -> None:
    found = replace(bad, culprits=(Culprit("test_x.py::test_b", (2,), (), True, 3),))
    said = reply.render(found, WHO)
    assert "* test_x.py::test_b\n" in said
    assert "  introduced by 2/3, still there at 3/3\n" in said
    assert "    xdna-harness run '<1@example.org>' --kernel debian:7.3 -k test_b\n" in said
    assert said.endswith(f"\nReported-by: {WHO}\nCloses: https://lore.kernel.org/r/1@example.org\n")
    assert "Tested-by: A" not in said


def test_only_the_user_can_be_behind_a_trailer(bad: Report, good: Report) -> None:
    for found in (bad, good):
        lines = reply.render(found).splitlines()
        assert not [line for line in lines if re.match(r"(Tested|Reported)-by:", line)]
    assert not [line for line in reply.render(bad, WHO).splitlines() if line.startswith("Tested-by:")]


def test_tested_by_wants_lines_that_ran_and_tests_that_failed_before(good: Report) -> None:
    line = f"\nTested-by: {WHO} # xdna-harness run 0123456789abcdef\n"
    assert line in reply.render(good, WHO)
    for weaker in (
        replace(good, own_lines=None),
        replace(good, own_lines=OwnLines(0, 9)),
        replace(report({"test_a": P}, {"test_a": P}), own_lines=OwnLines(5, 9)),
    ):
        assert "Tested-by" not in reply.render(weaker, WHO)


def test_a_kernel_alone_is_no_series(good: Report) -> None:
    said = reply.render(replace(good, lanes={"head": good.lanes["head"]}))
    assert said.startswith("I ran this kernel")
