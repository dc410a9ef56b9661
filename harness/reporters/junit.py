# SPDX-License-Identifier: GPL-2.0-only
"""Report -> JUnit, by junitparser: a failure is what somebody has to act on, and nothing else.

JUnit has no lanes and no LOST. One suite carries the comparisons: regressed -> failure, or error of type LOST; not
answered or suspect -> error of type ERROR; broken by one patch and mended by a later one -> failure of type BETWEEN;
flaky, known, or failing on base too -> skipped, with the reason. What each lane said stands in the case's system-out,
what it measured in the case's properties, as "base: NAME" and "head: NAME".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from junitparser import Error, Failure, JUnitXml, Properties, Property, Skipped, TestCase, TestSuite

from harness.log import printable
from harness.model.judge import Change, Comparison
from harness.model.measures import Number, amount
from harness.model.report import Report
from harness.model.result import Outcome, Result

Mark = Failure | Error | Skipped


def render(report: Report) -> str:
    """The XML as text. Control characters of a console are made visible: XML cannot carry them."""
    suite = TestSuite(f"xdna-harness {report.variant}")
    for name, text in {"verdict": str(report.verdict), "title": report.title, **report.facts}.items():
        suite.add_property(name, printable(text))
    for place, doubt in enumerate(report.doubts, 1):
        suite.add_property(f"doubt.{place}", printable(doubt))
    for lane in report.lanes.values():
        suite.add_property(f"kernel.{lane.name}", lane.kernel)
    measured: dict[str, list[Number]] = {}
    for number in report.numbers:
        measured.setdefault(number.test, []).append(number)
    for comparison in report.judgement.comparisons:
        suite.add_testcase(_case(report, comparison, measured.get(comparison.id, [])))
    xml: Any = JUnitXml("xdna-harness")  # junitparser's document class is only half typed
    xml.add_testsuite(suite)
    xml.update_statistics()
    return str(xml.tostring(), "utf-8")


def _case(report: Report, comparison: Comparison, numbers: Sequence[Number]) -> TestCase:
    file, _, name = comparison.id.rpartition("::")
    case = TestCase(printable(name or comparison.id), classname=printable(file.removesuffix(".py") or "stage"))
    answers = comparison.head or comparison.base
    case.time = round(sum(r.seconds for r in comparison.head), 3)
    mark = _mark(report, comparison, answers[0] if answers else None)
    if mark is not None:
        case.result = [mark]
    said = [f"{lane}: {_said(r)}" for lane, r in _both(comparison)]
    said += [f"again: {report.again(comparison.id)}"] if report.failed(comparison) else []
    case.system_out = printable("\n".join(said))
    if numbers:
        untyped: Any = case
        untyped.append(_properties(numbers))
    return case


def _properties(numbers: Sequence[Number]) -> Any:
    kind: Any = Properties  # only half typed, as above
    properties = kind()
    for number in numbers:
        for lane, measure in (("base", number.base), ("head", number.head)):
            if measure is not None:
                properties.add_property(Property(printable(f"{lane}: {number.name}"), printable(amount(measure))))
    return properties


def _both(comparison: Comparison) -> list[tuple[str, Result]]:
    return [("base", r) for r in comparison.base] + [("head", r) for r in comparison.head]


def _said(result: Result) -> str:
    off = f" (off when it began: {', '.join(result.disarmed)})" if result.disarmed else ""
    return f"attempt {result.attempt}: {result.outcome}{off} {result.evidence}".rstrip()


def _mark(report: Report, comparison: Comparison, answer: Result | None) -> Mark | None:
    outcome = answer.outcome if answer else None
    culprit = report.culprit(comparison.id)
    reason = printable("; ".join(part for part in (comparison.reason, culprit) if part))
    mark: Mark | None = None
    if comparison.change is Change.REGRESSED:
        bad = next((r for r in comparison.head if r.outcome is not Outcome.PASS), answer)
        lost = bad is not None and bad.outcome is Outcome.LOST
        mark = Error(reason, "LOST") if lost else Failure(reason, "FAIL")
        mark.text = printable(bad.evidence if bad else "")
    elif culprit:
        mark = Failure(reason, "BETWEEN")
    elif comparison.change in (Change.UNANSWERED, Change.SUSPECT):
        mark = Error(reason, "ERROR" if comparison.change is Change.UNANSWERED else "SUSPECT")
        mark.text = printable(answer.evidence if answer else "")
    elif comparison.change is Change.FLAKY:
        mark = Skipped(f"flaky: {reason}")
    elif comparison.id in report.known:
        mark = Skipped(printable(f"known failure: {'; '.join(report.known[comparison.id])}"))
    elif outcome in (Outcome.FAIL, Outcome.LOST):
        mark = Skipped(f"{outcome} on base too")
    elif outcome is Outcome.SKIP and answer:
        mark = Skipped(printable(answer.evidence))
    return mark
