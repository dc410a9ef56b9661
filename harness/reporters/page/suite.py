# SPDX-License-Identifier: GPL-2.0-only
"""All tests: as a grid, by the time they took, and one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from harness.model.judge import Change, Comparison
from harness.model.report import LaneReport, Report
from harness.model.result import Outcome, Result
from harness.reporters.page.document import Section
from harness.reporters.page.failures import Answer, answers
from harness.reporters.page.pictures import grid as picture
from harness.reporters.page.pictures.svg import bar

SLOWEST = 15
EVIDENCE = 20_000
"""Characters of what a test said; the records have the rest."""
Answers = Mapping[str, Mapping[str, list[Result]]]
"""By lane and test."""


def _answers(report: Report) -> Answers:
    found: dict[str, dict[str, list[Result]]] = {}
    for name, lane in report.lanes.items():
        for result in lane.results:
            found.setdefault(name, {}).setdefault(result.id, []).append(result)
    return found


def _tests(report: Report) -> list[str]:
    """What is no stage, in the order in which it was asked."""
    return list(dict.fromkeys(c.id for c in report.judgement.comparisons if not c.id.startswith("stage/")))


def grid(report: Report) -> Section | None:
    tests, found = _tests(report), _answers(report)
    if not tests:
        return None
    lanes = list(report.lanes)
    cells = {test: [_cell(report.lanes[lane], found.get(lane, {}).get(test)) for lane in lanes] for test in tests}
    seen = {cell for row in cells.values() for cell in row}
    order = [(outcome, known) for outcome in (*Outcome, None) for known in (False, True)]
    legend = [(picture.word(*cell), picture.mark_class(*cell)) for cell in order if cell in seen]
    data = {"groups": picture.groups(lanes, cells), "lanes": lanes, "legend": legend}
    note = f"{len(lanes)} lane(s), {len(tests)} tests"
    quiet = not report.ids(Change.REGRESSED) and not report.ids(Change.SUSPECT)
    return Section("grid", "Lanes against tests", "grid.html", data, note, open=quiet)


def _cell(lane: LaneReport, answers: list[Result] | None) -> picture.Cell:
    return (answers[0].outcome, answers[0].id in lane.known) if answers else (None, False)


@dataclass(frozen=True)
class Row:
    """One test. ``kinds`` are the filters that show it, ``why`` is what there is to say about how it compares."""

    id: str
    answers: tuple[Answer, ...]
    seconds: float
    kinds: str
    why: tuple[str, ...]
    evidence: str
    command: str


FILTERS = (
    ("worse", "worse"),
    ("failed", "not passed"),
    ("skipped", "skipped"),
    ("better", "better"),
    ("flaky", "flaky"),
    ("known", "known"),
)
CHANGES = {
    Change.REGRESSED: "worse",
    Change.SUSPECT: "worse",
    Change.FIXED: "better",
    Change.FLAKY: "flaky",
}
NOT_PASSED = (Outcome.FAIL, Outcome.LOST, Outcome.ERROR)


def tests(report: Report) -> Section | None:
    found = _answers(report)
    rows = [_row(report, c, found) for c in report.judgement.comparisons]
    if not rows:
        return None
    counts = Counter(kind for row in rows for kind in row.kinds.split())
    filters = [(kind, word, counts[kind]) for kind, word in FILTERS if counts[kind]]
    stages = sum(row.id.startswith("stage/") for row in rows)
    note = f"{len(rows) - stages}, and {stages} stages"
    return Section("tests", "All tests", "tests.html", {"rows": rows, "filters": filters}, note)


def _row(report: Report, comparison: Comparison, found: Answers) -> Row:
    test = comparison.id
    lanes = [(lane, found[lane].get(test, [])) for lane in report.lanes if lane in found]
    asked = [result for _, results in lanes for result in results]
    kinds = {CHANGES[comparison.change]} if comparison.change in CHANGES else set()
    kinds |= {"failed"} if any(result.outcome in NOT_PASSED for result in asked) else set()
    kinds |= {"skipped"} if asked and all(result.outcome is Outcome.SKIP for result in asked) else set()
    known = report.known.get(test, ())
    kinds |= {"known"} if known else set()
    said = [comparison.reason, report.culprit(test), *(f"known: {reason}" for reason in known)]
    off = {detector for result in asked for detector in result.disarmed}
    said += [f"off when it began: {', '.join(sorted(off))}"] if off else []
    told = next((r.evidence for r in reversed(asked) if r.outcome is not Outcome.PASS and r.evidence), "")
    cut = f"{told[:EVIDENCE]}\n... and {len(told) - EVIDENCE} more characters" if len(told) > EVIDENCE else told
    return Row(
        test,
        answers(lanes, [lane for lane in report.lanes if test in report.lanes[lane].known]),
        sum(result.seconds for result in asked[-1:]),
        " ".join(sorted(kinds)),
        tuple(text for text in said if text),
        cut,
        report.anywhere(test) if "::" in test else "",
    )


@dataclass(frozen=True)
class Time:
    """A bar of seconds."""

    name: str
    seconds: float
    svg: Markup


def durations(report: Report) -> Section | None:
    """Where the time of the last lane went: the slowest tests, and each file."""
    lane = list(report.lanes.values())[-1] if report.lanes else None
    asked = [r for r in lane.results if r.attempt == 1 and "::" in r.id and r.seconds] if lane else []
    if lane is None or not asked:
        return None
    files: dict[str, float] = {}
    for result in asked:
        name = result.id.partition("::")[0]
        files[name] = files.get(name, 0.0) + result.seconds
    slowest = sorted(asked, key=lambda r: -r.seconds)[:SLOWEST]
    data = {
        "lane": lane.name,
        "slowest": _times([(r.id.partition("::")[2], r.seconds) for r in slowest]),
        "files": _times(sorted(files.items(), key=lambda entry: -entry[1])),
    }
    return Section("durations", "Where the time went", "durations.html", data, f"{sum(r.seconds for r in asked):.0f} s")


def _times(named: list[tuple[str, float]]) -> list[Time]:
    top = max(seconds for _, seconds in named)
    return [Time(name, seconds, bar(f"{name}: {seconds:.1f} s", seconds / top)) for name, seconds in named]
