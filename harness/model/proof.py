# SPDX-License-Identifier: GPL-2.0-only
"""What shows that a series does something, and that the tests have seen it: tests that fail before a patch and pass
after it, and how many of the lines that the series adds were run. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.model.blame import Prefix
from harness.model.judge import LaneResults
from harness.model.result import Outcome, Result


@dataclass(frozen=True)
class OwnLines:
    """Of ``lines`` of code that a series adds, ``run`` were run by a test."""

    run: int
    lines: int


def fail_to_pass(base: LaneResults, prefixes: Sequence[Prefix]) -> dict[int, tuple[str, ...]]:
    """By number of the patch: the tests that failed whenever they were asked before it, and always passed after it.
    A prefix that did not answer a test proves nothing on either side of it."""
    found = {}
    before = base.by_id()
    for prefix in prefixes:
        after = prefix.results.by_id()
        tests = tuple(t for t, old in before.items() if "::" in t and _fails(old) and _passes(after.get(t, [])))
        if tests:
            found[prefix.number] = tests
        before = after
    return found


def doubts(different: bool, own: OwnLines | None, measured: bool) -> tuple[str, ...]:
    """What a reader of the verdict must know first. ``different``: some test got better or worse; ``measured``: it was
    counted which lines ran (``own`` is None then if the series adds no code)."""
    if own is not None and not own.run:
        return (f"no test runs any of the {own.lines} lines of code that the series adds",)
    if different or measured:
        return ()
    return ("no test tells the series from its base; whether any runs its lines, --coverage says",)


def _fails(answers: Sequence[Result]) -> bool:
    return bool(answers) and all(a.outcome in (Outcome.FAIL, Outcome.LOST) for a in answers)


def _passes(answers: Sequence[Result]) -> bool:
    return bool(answers) and all(a.outcome is Outcome.PASS for a in answers)
