# SPDX-License-Identifier: GPL-2.0-only
"""Report -> JUnit, by junitparser: a failure is what somebody has to act on, and nothing else.

JUnit has no lanes and no LOST. One suite carries the comparisons: regressed -> failure, or error of type LOST; not
answered or suspect -> error of type ERROR; broken by one patch and mended by a later one -> failure of type BETWEEN;
flaky, known, or failing on base too -> skipped, with the reason. A verdict other than GOOD that no case shows has one
of its own, run/verdict, so that no viewer is green then. What each lane said stands in the case's system-out,
behind it the consoles of a case that went wrong, as attachments (Jenkins, GitLab). The xunit schema
(junit-10.xsd of Jenkins' xunit plug-in) knows properties of a suite only: what a test measured is there, as
"TEST: base: NAME" and "TEST: head: NAME".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from harness.log import printable
from harness.model.judge import Change, Comparison, Verdict
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
        suite.add_property(f"kernel.{lane.name}", printable(lane.kernel))
    for number in report.numbers:
        for name, value in _measured(number):
            suite.add_property(printable(name), printable(value))
    for place, reason in enumerate(report.judgement.reasons, 1):
        suite.add_property(f"reason.{place}", printable(reason))
    cases = [_case(report, comparison) for comparison in report.judgement.comparisons]
    if report.verdict is not Verdict.GOOD and not any(case.is_failure or case.is_error for case in cases):
        cases.append(_verdict(report))
    suite.add_testcases(cases)
    xml: Any = JUnitXml("xdna-harness")  # junitparser's document class is only half typed
    xml.add_testsuite(suite)
    xml.update_statistics()
    del xml._elem.attrib["skipped"]  # the schema has it for a suite only
    return str(xml.tostring(), "utf-8")


def _case(report: Report, comparison: Comparison) -> TestCase:
    file, _, name = comparison.id.rpartition("::")
    case = TestCase(printable(name or comparison.id), classname=printable(file.removesuffix(".py") or "stage"))
    answers = comparison.head or comparison.base
    case.time = round(sum(r.seconds for r in comparison.head), 3)
    mark = _mark(report, comparison, answers[0] if answers else None)
    if mark is not None:
        case.result = [mark]
    said = [f"{lane}: {_said(result)}" for lane, result in _both(comparison)]
    said += [f"again: {report.again(comparison.id)}"] if report.failed(comparison) else []
    if isinstance(mark, Error | Failure):
        said += [f"[[ATTACHMENT|{path}]]" for path in _consoles(report, comparison)]
    case.system_out = printable("\n".join(said))
    return case


def _verdict(report: Report) -> TestCase:
    """The verdict as a case, for one that no comparison shows."""
    case = TestCase("run/verdict", classname="run")
    case.time = 0.0
    reasons = [printable(reason) for reason in report.judgement.reasons]
    kind = Failure if report.verdict is Verdict.BAD else Error
    mark = kind(next(iter(reasons), "no reason is known"), str(report.verdict))
    mark.text = "\n".join(reasons)
    case.result = [mark]
    return case


def _measured(number: Number) -> Iterator[tuple[str, str]]:
    for lane, measure in (("base", number.base), ("head", number.head)):
        if measure is not None:
            yield f"{number.test}: {lane}: {number.name}", amount(measure)


def _consoles(report: Report, comparison: Comparison) -> Iterator[Path]:
    """Those of head's guests that did not pass the test."""
    head = report.lanes.get("head")
    boots = {result.boot: None for result in comparison.head if result.outcome is not Outcome.PASS}
    return (head.consoles[boot].absolute() for boot in boots if head and boot in head.consoles)


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
