# SPDX-License-Identifier: GPL-2.0-only
"""Report -> Markdown, for the summary of a forge's job or a comment: the verdict first, then what got worse."""

from __future__ import annotations

import re
from collections import Counter

from harness.log import printable
from harness.model.judge import Change
from harness.model.measures import amount
from harness.model.report import Report
from harness.model.result import Outcome
from harness.reporters.text import excerpt

LIVE = {"&": "&amp;", "@": "&#64;", "#": "&#35;", "://": "&#58;//"}
"""What a forge makes a mention, a reference or a link of, whatever stands before it."""
MARKS = re.compile(r"://|[&@#\\`*_{}\[\]<>()+!|~-]")
SHOWN = 20
"""Tests of a kind; report.json has all."""


def render(report: Report) -> str:
    """Nothing from a mail or a console is markup, a link or a mention."""
    lines = [f"## {report.verdict}: {plain(report.title)}", ""]
    lines += [f"- {plain(text)}" for text in (*report.doubts, *report.judgement.reasons[:SHOWN])]
    lines += ["", *_lanes(report)]
    lines += _worse(report)
    for title, change in (("Better", Change.FIXED), ("Flaky", Change.FLAKY), ("Not answered", Change.UNANSWERED)):
        lines += _names(title, report.ids(change))
    lines += _names("Known to fail", sorted(report.known))
    lines += _numbers(report)
    lines += ["", "<details><summary>How</summary>", ""]
    lines += [f"- {plain(name)}: {plain(text)}" for name, text in report.facts.items()]
    lines += [f"- {plain(note)}" for note in report.notes]
    return "\n".join([*lines, "", "</details>"]) + "\n"


def plain(text: str) -> str:
    """Text as text, on one line."""
    return MARKS.sub(lambda mark: LIVE.get(mark[0], f"\\{mark[0]}"), printable(" ".join(text.split())))


def _lanes(report: Report) -> list[str]:
    kinds = list(Outcome)
    rows = ["| lane | kernel | " + " | ".join(kinds) + " |", "|" + "---|" * (len(kinds) + 2)]
    for name, lane in report.lanes.items():
        counts = Counter(r.outcome for r in lane.results if r.attempt == 1 and not r.is_stage)
        cells = [plain(name), plain(lane.kernel), *(str(counts[kind]) for kind in kinds)]
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def _worse(report: Report) -> list[str]:
    lines: list[str] = []
    for comparison in report.judgement.comparisons:
        if comparison.change not in (Change.REGRESSED, Change.SUSPECT):
            continue
        lines += ["", f"### {plain(comparison.id)}", "", plain(f"{comparison.change}: {comparison.reason}")]
        if culprit := report.culprit(comparison.id):
            lines += ["", plain(culprit)]
        answers = [r for r in comparison.head if r.outcome is not Outcome.PASS]
        if answers:
            # Indented, so that no fence can be closed from inside.
            lines += ["", *(f"    {printable(line)}" for line in excerpt(answers[0]))]
        lines += ["", f"    {printable(report.again(comparison.id))}"] if report.failed(comparison) else []
    return lines


def _names(title: str, ids: list[str]) -> list[str]:
    if not ids:
        return []
    more = [f"- and {len(ids) - SHOWN} more"] if len(ids) > SHOWN else []
    return ["", f"**{title}: {len(ids)}**", "", *(f"- {plain(test)}" for test in ids[:SHOWN]), *more]


def _numbers(report: Report) -> list[str]:
    differ = [number for number in report.numbers if number.differs]
    if "base" not in report.lanes or not differ:
        return []
    rows = ["", "| measured | base | head |", "|---|---|---|"]
    for number in differ[:SHOWN]:
        name = plain(f"{number.test.rpartition('::')[2]}: {number.name}")
        rows.append(f"| {name} | {plain(amount(number.base))} | {plain(amount(number.head))} |")
    return rows
