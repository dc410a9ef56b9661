# SPDX-License-Identifier: GPL-2.0-only
"""How far to trust it: which changed lines ran, which detectors were off, how the answer was got."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from harness.model.changed import ChangedFile, Line, Ran
from harness.model.report import Report
from harness.reporters.page.document import Section
from harness.reporters.page.pictures.score import interval
from harness.reporters.page.pictures.svg import bar

MOST_LINES = 4000
"""Of a diff: two kernels may differ in more than anybody reads."""
CLASSES = {Ran.RAN: "ran", Ran.NEVER: "never", Ran.NOT_CODE: "nocode", Ran.UNKNOWN: ""}


@dataclass(frozen=True)
class Row:
    """A line of a diff: its class, number, mark, text, and what is known of it in a word."""

    tone: str
    number: str
    mark: str
    text: str
    ran: str


def coverage(report: Report) -> Section | None:
    """The series' diff with what ran; only the diff when nobody counted, only the table when there is no series."""
    if not report.changed and not report.coverage:
        return None
    own = report.own_lines
    note = (
        f"{own.run} of {own.lines} lines ran" if own else ("counted" if report.coverage else "nobody counted what ran")
    )
    files, left = _files(report.changed)
    data = {
        "files": files,
        "left": left,
        "own": own,
        "bar": bar(f"{own.run} of {own.lines} added lines ran", own.run / own.lines, "good") if own else None,
        "counted": bool(report.coverage),
        "table": "\n".join(line.replace("\n", " ") for line in report.coverage),
    }
    title = (
        "Coverage" if not report.changed else "Coverage on the diff" if report.coverage else "What the series changes"
    )
    return Section("coverage", title, "coverage.html", data, note)


def _files(changed: Sequence[ChangedFile]) -> tuple[list[tuple[str, str, list[list[Row]]]], int]:
    """Each file's name, what there is to say of it, and its hunks; and how many lines were left out."""
    files, left, room = [], 0, MOST_LINES
    for file in changed:
        hunks = []
        for hunk in file.hunks:
            room -= len(hunk)
            if room >= 0:
                hunks.append([_row(line) for line in hunk])
            else:
                left += len(hunk)
        files.append((file.name, _gist(file), hunks))
    return files, left


def _gist(file: ChangedFile) -> str:
    ran, never = file.count(Ran.RAN), file.count(Ran.NEVER)
    if ran or never:
        return f"{ran} of {ran + never} added lines of code ran"
    added = sum(line.mark == "+" for hunk in file.hunks for line in hunk)
    return f"{added} line(s) added"


def _row(line: Line) -> Row:
    known = line.mark == "+" and line.ran is not Ran.UNKNOWN
    tone = {"+": "plus", "-": "minus"}.get(line.mark, "around") + (f" {CLASSES[line.ran]}" if known else "")
    return Row(tone, str(line.number or ""), line.mark, line.text, str(line.ran) if known else "")


def detectors(report: Report) -> Section | None:
    rows = [(lane, detector, tests) for (lane, detector), tests in report.disarmed.items()]
    note = str(sum(len(tests) for _, _, tests in rows))
    data = {"rows": rows}
    return Section("detectors", "Detectors that were off", "detectors.html", data, note, "doubt") if rows else None


def how(report: Report) -> Section:
    rates = (
        ("Planted bugs that the suite caught", report.score),
        ("A driver found worse than itself", report.false_alarms),
    )
    data = {
        "facts": list(report.facts.items()),
        "kernels": [(lane.name, lane.kernel) for lane in report.lanes.values() if lane.kernel],
        "rates": [(words, str(rate), interval(words, rate)) for words, rate in rates if rate.trials],
        "notes": report.notes,
        "trailers": report.trailers,
        "key": report.key,
        "command": shlex.join(report.command),
        "run": str(report.run),
        "variant": report.variant,
    }
    return Section("how", "How the answer was got", "how.html", data)
