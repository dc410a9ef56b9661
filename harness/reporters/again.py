# SPDX-License-Identifier: GPL-2.0-only
"""The answers of one test that was asked again, for a person and for programs. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from harness.model.result import Outcome, Result
from harness.reporters.text import excerpt


def line(answer: Result, number: int, times: int) -> str:
    """One answer, as it comes."""
    return f"{number} of {times}: {answer.outcome} {answer.id}, {answer.seconds:.1f} s"


def summary(answers: Sequence[Result], about: Mapping[str, Any], known: Sequence[str]) -> list[str]:
    """How often it failed, what it said the last time that it did, and where to look."""
    counts = ", ".join(f"{n} {outcome}" for outcome, n in sorted(Counter(r.outcome for r in answers).items()))
    lines = [f"{about['test']} on {about['lane']}: {counts or 'not asked'}"]
    lines += [f"  known to fail: {reason}" for reason in known]
    bad = [r for r in answers if r.outcome not in (Outcome.PASS, Outcome.SKIP)]
    lines += [f"    {text}" for text in (excerpt(bad[-1]) if bad else ())]
    if not about["same"]:
        lines.append("  asked of another kernel or driver than then: see the warning")
    return [*lines, f"  consoles and records: {about['out']}"]


def data(answers: Sequence[Result], about: Mapping[str, Any]) -> dict[str, Any]:
    """``run``, ``test``, ``lane``, ``out``, ``same`` (the kernel and driver are those of then), ``known``, and
    ``answers``."""
    said = [
        {
            "outcome": r.outcome,
            "seconds": round(r.seconds, 3),
            "evidence": r.evidence,
            "fingerprints": sorted(r.fingerprints),
        }
        for r in answers
    ]
    return {**about, "answers": said}
