# SPDX-License-Identifier: GPL-2.0-only
"""What a series is seen to do: only what failed before a patch and passes after it proves anything."""

from __future__ import annotations

import pytest

from harness.model.blame import Prefix
from harness.model.judge import LaneResults
from harness.model.proof import OwnLines, doubts, fail_to_pass
from harness.model.result import Outcome, Result

T = "test_x.py::test_a"
NAMES = {"p": Outcome.PASS, "f": Outcome.FAIL, "l": Outcome.LOST, "e": Outcome.ERROR, "s": Outcome.SKIP}


def lane(word: str, test: str = T) -> LaneResults:
    return LaneResults(tuple(Result(test, NAMES[letter], attempt=n) for n, letter in enumerate(word, 1)))


def proved(base: str, *lanes: str, test: str = T) -> list[int]:
    prefixes = [Prefix(number, "", lane(word, test)) for number, word in enumerate(lanes, 1)]
    return list(fail_to_pass(lane(base, test), prefixes))


@pytest.mark.parametrize(
    ("lanes", "numbers"),
    [
        (("f", "p"), [1]),
        (("f", "f", "p", "p"), [2]),
        (("ll", "f", "pp"), [2]),
        (("f", "p", "f", "p"), [1, 3]),
        (("p", "p"), []),
        (("fp", "p"), []),
        (("f", "pf"), []),
        (("f", "e", "p"), []),
        (("f", "s"), []),
        (("s", "p"), []),
        (("", "p"), []),
    ],
)
def test_a_patch_is_proved_by_what_fails_before_it_and_passes_after_it(
    lanes: tuple[str, ...], numbers: list[int]
) -> None:
    assert proved(*lanes) == numbers


def test_a_stage_proves_nothing() -> None:
    assert proved("f", "p", test="stage/build") == []


def test_what_must_be_read_with_the_verdict() -> None:
    assert doubts(True, OwnLines(3, 9), True) == ()
    assert doubts(False, OwnLines(3, 9), True) == ()
    assert doubts(True, OwnLines(0, 9), True) == ("no test runs any of the 9 lines of code that the series adds",)
    assert doubts(True, None, False) == ()
    assert "no test tells the series from its base" in doubts(False, None, False)[0]
    assert doubts(False, None, True) == (), "the series adds no code, and that was counted"
