# SPDX-License-Identifier: GPL-2.0-only
"""The score for people and for programs."""

from __future__ import annotations

import json

from harness.model.planted import BugKind, Fate, Proof, Score
from harness.reporters import score as reporter

PROOFS = (
    Proof(
        "lost", "a put is lost", BugKind.LOST_PUT, True, "", "k", Fate.CAUGHT, "test_x.py::test_a", "FAIL", 3, 2, 21.0
    ),
    Proof("kept", "two\nlines", BugKind.LOCK, False, "needs two\x1b processors", "k", Fate.SURVIVED, seconds=99.0),
    Proof("loud", "nothing", BugKind.NEUTRAL, False, "", "k", Fate.CAUGHT, "test_x.py::test_b", "FAIL"),
    Proof("quiet", "nothing", BugKind.NEUTRAL, False, "", "k", Fate.SURVIVED),
)
SCORE = Score(PROOFS, "Linux 7.3.4, npu4, sva, plain")


def test_the_first_line_is_the_score() -> None:
    first = reporter.text(SCORE).splitlines()[0]
    assert first == ("1 of 2 caught (50 %); 1 of 2 edits that change nothing survived  (Linux 7.3.4, npu4, sva, plain)")


def test_what_somebody_must_look_at_is_named_before_all() -> None:
    lines = reporter.text(SCORE).splitlines()
    assert lines.index("false alarms: 1") < lines.index("survived: 1") < lines.index("all:")
    assert "  kept (lock): two lines" in lines
    assert "    not seen from outside: needs two \\x1b processors".replace("two \\", "two\\") in lines
    assert "    test_x.py::test_b: FAIL" in lines
    assert "  in what the series adds: 1 of 1" in lines
    assert "caught in 21 s in the median, 21 s at most" in lines


def test_programs_find_the_outcome_of_each_bug() -> None:
    found = json.loads(reporter.data(SCORE))
    assert (found["planted"], found["counted"], found["caught"], found["score"]) == (2, 2, 1, 50.0)
    assert found["false_alarms"] == ["loud"]
    bug = found["bugs"][0]
    assert (bug["id"], bug["kind"], bug["outcome"], bug["by"], bug["seconds"]) == (
        "lost",
        "lost-put",
        "caught",
        "test_x.py::test_a",
        21.0,
    )


def test_without_a_bug_there_is_no_share() -> None:
    found = Score((PROOFS[3],))
    assert json.loads(reporter.data(found))["score"] is None
    assert reporter.text(found).startswith("0 of 0 caught; 1 of 1 edits")
    assert "by kind" not in reporter.text(found)
