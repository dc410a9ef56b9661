# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from harness.model.finding import Finding, Kind
from harness.model.found import Answer, Found, Tally, answer, readme
from harness.model.known import KnownFailure
from harness.model.result import Measure, Outcome, Result
from harness.model.script import step

WARN = Finding(Kind.WARNING, "WARNING: gem.c:7", "WARNING:a:b", "the splat")
OOPS = Finding(Kind.OOPS, "NULL pointer", "OOPS:c", "another")
LEAK = Finding(Kind.LEAK, "leak of x", "LEAK:x", "leak of x: 1, 2")
KNOWN = [KnownFailure("an old warning", ("*",), date(2099, 1, 1), fingerprint="WARNING:a:b")]
HERE = Path("guests/7")
BROKEN = "harness.guest.hunt.oracle.Broken: broken eagain: a DEV BO in a heap of 0x20000000 bytes\n\ntrace"


def asked(outcome: Outcome, *findings: Finding, text: str = "", only: bool = False, console: str = "") -> Answer:
    result = Result("t", outcome, text, findings=findings, only_findings=only)
    return answer(result, KNOWN, HERE, console)


@pytest.mark.parametrize(
    ("one", "news", "known"),
    [
        (asked(Outcome.PASS), (), ()),
        (asked(Outcome.FAIL, OOPS, only=True), ("OOPS:c",), ()),
        (asked(Outcome.FAIL, WARN, only=True), (), ("an old warning",)),
        (asked(Outcome.FAIL, WARN, OOPS, only=True), ("OOPS:c",), ("an old warning",)),
        (asked(Outcome.FAIL, text=BROKEN), ("broken eagain",), ()),
        (asked(Outcome.FAIL, WARN, text=BROKEN), ("broken eagain",), ("an old warning",)),
        (asked(Outcome.FAIL, OOPS, LEAK, text=BROKEN), ("broken eagain", "OOPS:c"), ()),
        (asked(Outcome.FAIL, LEAK, only=True), ("LEAK:x",), ()),
        (asked(Outcome.FAIL, text="Failed: not finished after 60 s\nthe stacks"), ("broken time",), ()),
        (asked(Outcome.FAIL, text="builtins.KeyError: 'x'"), ("failed KeyError",), ()),
        (asked(Outcome.LOST, WARN), (), ("an old warning",)),
        (asked(Outcome.LOST, OOPS), ("OOPS:c",), ()),
        (asked(Outcome.LOST), ("LOST before the first step",), ()),
        (asked(Outcome.LOST, console='walk: step 3: {"do": "bo", "kib": 4}\nx'), ("LOST bo",), ()),
    ],
)
def test_what_is_news(one: Answer, news: tuple[str, ...], known: tuple[str, ...]) -> None:
    assert (one.news, one.known, one.trouble) == (news, known, "")


def test_no_answer_is_no_news() -> None:
    one = asked(Outcome.ERROR, OOPS, text="the emulated NPU ended")
    assert (one.news, one.trouble) == ((), "the emulated NPU ended")
    tally = Tally()
    tally.add(one, 40)
    assert (tally.walks, tally.troubles) == (0, 1)


def test_the_tally_is_a_table() -> None:
    measures = {"bo ok": Measure(3, "times"), "bo EAGAIN": Measure(1, "times"), "free ok": Measure(2, "times")}
    tally = Tally()
    for _ in range(2):
        tally.add(Answer(known=("old",), result=Result("t", Outcome.PASS, measures=measures)), 40)
    assert tally.table() == ["bo: ok 6, EAGAIN 2", "free: ok 4"]
    assert tally.known_by_count() == [(2, "old")]
    assert (tally.walks, tally.steps) == (2, 80)


def test_a_readme_says_how_to_see_it_again() -> None:
    result = Result("t", Outcome.FAIL, "evidence", findings=(OOPS,))
    found = Found("OOPS:c", (step("open", file=0),), 5, 40, 3, 3, 31, True, Answer(("OOPS:c",), result=result))
    text = readme(found, "Linux 7.3.4, here", "xdna-harness hunt --script x")
    for part in (
        "# OOPS:c",
        "NULL pointer",
        "Linux 7.3.4",
        "3 of 3",
        "seed 5",
        '{"do": "open", "file": 0}',
        "--script x",
    ):
        assert part in text
    once = Found("OOPS:c", (), None, 40, 0, 3, 3, False, Answer(("OOPS:c",), result=result))
    assert "seen once; 3 fresh guests" in readme(once, "", "")
