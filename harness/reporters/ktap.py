# SPDX-License-Identifier: GPL-2.0-only
"""Report -> KTAP version 1 (Documentation/dev-tools/ktap.rst): one line a comparison of base and head.

``not ok`` without a directive is what the series made worse, and nothing else. What fails on base too, or is known to
fail, is XFAIL; what could not be asked, or was worse but not confirmed, is ERROR.
"""

from __future__ import annotations

from harness.log import printable
from harness.model.judge import Change, Comparison
from harness.model.report import Report
from harness.model.result import Outcome
from harness.reporters.text import excerpt


def render(report: Report) -> str:
    """The whole document."""
    found = report.judgement.comparisons
    lines = ["KTAP version 1", f"# {_flat(f'{report.verdict}  {report.title}')}", f"1..{len(found)}"]
    for number, comparison in enumerate(found, 1):
        lines += _diagnosis(comparison)
        lines += [f"# again: {_flat(report.again(comparison.id))}"] if report.failed(comparison) else []
        lines.append(_line(report, number, comparison))
    return printable("\n".join(lines)) + "\n"


def _line(report: Report, number: int, comparison: Comparison) -> str:
    name = _flat(comparison.id).replace("#", "_")
    answers = comparison.head or comparison.base
    outcome = answers[0].outcome if answers else Outcome.ERROR
    known = report.known.get(comparison.id)
    if comparison.change is Change.REGRESSED:
        return f"not ok {number} {name}"
    if comparison.change in (Change.SUSPECT, Change.UNANSWERED) or outcome is Outcome.ERROR:
        return f"not ok {number} {name} # ERROR {_flat(comparison.reason)}".rstrip()
    if known or comparison.change is Change.FLAKY:
        return f"not ok {number} {name} # XFAIL {_flat('; '.join(known) if known else comparison.reason)}"
    if outcome is Outcome.SKIP:
        return f"ok {number} {name} # SKIP {_flat(answers[0].evidence)}".rstrip()
    if outcome is not Outcome.PASS:
        return f"not ok {number} {name} # XFAIL fails on base too"
    return f"ok {number} {name}"


def _diagnosis(comparison: Comparison) -> list[str]:
    """What a person reads first, before the line it belongs to."""
    if comparison.change not in (Change.REGRESSED, Change.SUSPECT, Change.UNANSWERED):
        return []
    answers = [r for r in comparison.head if r.outcome is not Outcome.PASS]
    said = excerpt(answers[0]) if answers else []
    return [f"# {_flat(line)}" for line in (comparison.reason, *said) if line.strip()]


def _flat(text: str) -> str:
    return " ".join(text.split())
