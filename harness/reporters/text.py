# SPDX-License-Identifier: GPL-2.0-only
"""Report -> text for a person: verdict, what got worse, what got better, where to look."""

from __future__ import annotations

import itertools
import re
from collections import Counter

from harness.log import printable
from harness.model.judge import Change, Comparison
from harness.model.measures import amount
from harness.model.report import Report
from harness.model.result import Outcome, Result

EVIDENCE_LINES = 16
DISARMED_TESTS = 3
SLOWEST = 10
SAID_LINES = 4
"""Of what a test said beside its splats, so much."""
# Registers, code bytes, guessed frames, the page and the memory around: the console has them.
NOISE = re.compile(
    r"\s*(?:$|\? |Code: |CPU: |Tainted: |Modules linked in: "
    r"|RIP: 0033:|(?:R(?!IP)[A-Z0-9]{2}|[FCG]S|CR\d|DR\d): +[0-9a-f]{4,}"
    r"|(?:raw|head|flags|page|page_type): |page dumped |The buggy address belongs to the physical page|Memory state "
    r"|>?[0-9a-f]{16}: |\^$|=+$|</?TASK>$|kasan_save_)"
)
VISITED = (("allocations failed", "call sites"), ("answers spoiled", "messages"))
LEFT = "not recovered"
"""Measures of the enumeration's tests (tests/target, harness/guest/spoiled.py)."""


def render(report: Report) -> str:
    """Plain lines; nothing from outside reaches a terminal unescaped."""
    return printable("\n".join([*opening(report), *details(report)])) + "\n"


def opening(report: Report) -> list[str]:
    """The verdict, and what must be read with it."""
    lines = [f"{report.verdict}  {flat(report.title)}", f"  {_counts(report)}"]
    return lines + [f"  {flat(text)}" for text in (*report.doubts, *report.judgement.reasons[:20])]


def details(report: Report) -> list[str]:
    """All the rest."""
    lines = _patches(report)
    lines += _section(report, "worse", (Change.REGRESSED, Change.SUSPECT), evidence=True)
    lines += _section(report, "unanswered", (Change.UNANSWERED,), evidence=True)
    lines += _section(report, "flaky", (Change.FLAKY,), evidence=False)
    lines += _section(report, "better", (Change.FIXED,), evidence=False)
    if report.known:
        lines += ["", "known failures:"]
        lines += [f"  {test}: {'; '.join(reasons)}" for test, reasons in sorted(report.known.items())]
    if report.mended:
        lines += ["", "known to fail, and passing: take them off jobs/known.toml once the kernel has the fix"]
        lines += [f"  {test}" for test in report.mended]
    lines += _difference_free(report)
    lines += _disarmed(report)
    lines += _numbers(report)
    lines += _visited(report)
    if report.coverage:
        lines += ["", "coverage:", *(f"  {kept(line)}" for line in report.coverage)]
    if report.trailers:
        lines += ["", "trailers:", *(f"  {flat(trailer)}" for trailer in report.trailers)]
    lines += ["", "how:", *(f"  {name}: {flat(text)}" for name, text in report.facts.items())]
    lines += _slowest(report)
    lines += [f"  note: {flat(note)}" for note in report.notes]
    lines += [
        "",
        f"where to look: {report.run}/report.json, junit.xml, <lane>/{report.variant}/boot-*/console.log",
    ]
    return lines


def _visited(report: Report) -> list[str]:
    """What the enumeration made fail on each lane: how much, at how many places, and in which tests not all of it
    recovered."""
    lines = []
    for name, lane in report.lanes.items():
        for what, places in VISITED:
            tests = [r for r in lane.results if r.attempt == 1 and what in r.measures]
            failed, visited, left = (sum(_measured(r, key) for r in tests) for key in (what, places, LEFT))
            if tests:
                lines.append(f"  {name}: {failed} {what}, {visited} {places} in {len(tests)} tests; {left} {LEFT}")
                lines += [f"    {_measured(r, LEFT)} in {r.id}" for r in tests if _measured(r, LEFT)]
    return ["", "enumeration:", *lines] if lines else []


def _measured(result: Result, name: str) -> int:
    return int(result.measures[name].value) if name in result.measures else 0


def kept(line: str) -> str:
    """A line of a table of ours, with its columns."""
    return line.replace("\n", " ")


def flat(text: str) -> str:
    """``text`` on one line: what came in a mail, or out of a compiler, must not pass for a line of ours."""
    return " ".join(text.split())


def _counts(report: Report) -> str:
    parts = []
    for name, lane in report.lanes.items():
        outcomes = Counter(r.outcome for r in lane.results if r.attempt == 1 and not r.is_stage)
        parts.append(f"{name}: " + (", ".join(f"{n} {o}" for o, n in sorted(outcomes.items())) or "no test ran"))
    return "; ".join(parts)


def _patches(report: Report) -> list[str]:
    """One line a patch, and what the compiler newly complains about."""
    if not report.patches:
        return []
    lines = ["", f"patches: {len(report.patches)}"]
    for patch in report.patches:
        counts = ", ".join(f"{n} {o}" for o, n in sorted(patch.outcomes.items())) or "no test ran"
        place = f"{patch.number}/{len(report.patches)}"
        lines.append(f"  {place} {flat(patch.title)}: {counts}")
        lines.append(f"      {flat(patch.how)} ({patch.seconds:.0f} s)" if patch.how else "      not built")
        lines += [f"      new warning: {flat(warning)}" for warning in patch.new_warnings]
        if proved := report.proofs.get(patch.number):
            lines.append(f"      fail before it and pass after it: {flat(', '.join(proved))}")
    between = [c for c in report.culprits if not c.still]
    if between:
        lines += ["", f"broken on the way: {len(between)}", *(f"  {c.test}: {c}" for c in between)]
    return lines


def _section(report: Report, title: str, changes: tuple[Change, ...], evidence: bool) -> list[str]:
    chosen = sorted((c for c in report.judgement.comparisons if c.change in changes), key=lambda c: c.id)
    if not chosen:
        return []
    lines = ["", f"{title}: {len(chosen)}"]
    for comparison in chosen:
        lines.append(f"  {comparison.id}: {comparison.reason}")
        if culprit := report.culprit(comparison.id):
            lines.append(f"    {culprit}")
        if evidence:
            lines += [f"      {line}" for line in _evidence(comparison)]
        if report.failed(comparison):
            lines.append(f"    again: {report.again(comparison.id)}")
    return lines


def _evidence(comparison: Comparison) -> list[str]:
    """What a person reads first of the worst answer on head."""
    answers = [r for r in comparison.head if r.outcome is not Outcome.PASS] or list(comparison.head)
    return excerpt(answers[0]) if answers else []


def excerpt(result: Result) -> list[str]:
    """The splats if there are any; else the beginning of the evidence, or, of a console, its end."""
    lines = result.evidence.splitlines()
    if result.findings:
        splats = [line for f in result.findings for line in (f"{f.kind}:", *f.text.splitlines())]
        splats = [line for line in splats if not NOISE.match(line)]
        said = itertools.takewhile(str.strip, lines[:SAID_LINES])
        lines = [*said, *splats]
    elif result.outcome is Outcome.LOST and len(lines) > EVIDENCE_LINES:
        return [lines[0], "...", *lines[-EVIDENCE_LINES:]]
    more = [f"... {len(lines) - EVIDENCE_LINES} more lines"] if len(lines) > EVIDENCE_LINES else []
    return lines[:EVIDENCE_LINES] + more


def _slowest(report: Report) -> list[str]:
    """Where the time went: the tests of the last lane that took longest."""
    results = [result for lane in list(report.lanes.values())[-1:] for result in lane.results]
    asked = sorted((r for r in results if r.attempt == 1 and "::" in r.id), key=lambda r: -r.seconds)
    named = ", ".join(f"{flat(r.id.partition('::')[2])} {r.seconds:.1f}" for r in asked[:SLOWEST])
    return [f"  slowest tests, in seconds: {named}"] if len(asked) > 1 else []


def _disarmed(report: Report) -> list[str]:
    """A detector that was off has nothing to say: its silence must not be read as an all-clear."""
    lines = []
    for (lane, detector), tests in report.disarmed.items():
        named = ", ".join(tests[:DISARMED_TESTS]) + (" ..." if len(tests) > DISARMED_TESTS else "")
        lines.append(f"  {lane}: {detector} was off already when {len(tests)} test(s) began: {named}")
    return ["", "detectors off:", *lines] if lines else []


def _difference_free(report: Report) -> list[str]:
    """Tests that fail on both lanes: not the series, as far as the outcome tells. What is not said by the same words is
    shown."""
    same = [
        c
        for c in report.judgement.comparisons
        if c.change is Change.SAME and c.head and c.head[0].outcome in (Outcome.FAIL, Outcome.LOST)
    ]
    lines = ["", f"fails on base too: {len(same)}"] if same else []
    for comparison in same:
        lines.append(f"  {comparison.id}")
        if comparison.otherwise:
            lines.append(f"    on base: {flat(comparison.base[0].first_line)}")
            lines.append(f"    on head: {flat(comparison.head[0].first_line)}")
        lines.append(f"    again: {report.again(comparison.id)}")
    return lines


def _numbers(report: Report) -> list[str]:
    """What the tests measured: what differs from base to head; where there is no base, all that is not 0."""
    if not report.numbers:
        return []
    if "base" not in report.lanes:
        some = [number for number in report.numbers if number.head and number.head.value]
        lines = ["", f"numbers: {len(report.numbers)}, of which {len(report.numbers) - len(some)} are 0"]
        for test, found in itertools.groupby(some, key=lambda number: number.test):
            lines.append(f"  {flat(test)}: {', '.join(f'{flat(n.name)} {amount(n.head)}' for n in found)}")
        return lines
    differ = [number for number in report.numbers if number.differs]
    lines = ["", f"numbers, base -> head: {len(differ)} of {len(report.numbers)} differ; none is judged"]
    for test, found in itertools.groupby(differ, key=lambda number: number.test):
        lines.append(f"  {flat(test)}")
        lines += [f"    {flat(n.name)}: {amount(n.base)} -> {amount(n.head)}" for n in found]
    return lines
