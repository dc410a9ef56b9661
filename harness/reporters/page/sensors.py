# SPDX-License-Identifier: GPL-2.0-only
"""Power and temperature over a sustained load, base against head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from harness.model.report import Report
from harness.model.result import Series
from harness.reporters.page.document import Section
from harness.reporters.page.pictures import series as picture


@dataclass(frozen=True)
class Plot:
    """One sensor on each lane that has it: what it said in words, and one picture of all."""

    name: str
    top: str
    bottom: str
    words: tuple[tuple[str, str], ...]
    svg: Markup


def sensors(report: Report) -> Section | None:
    """None where no test was watched. Each test's first answer: repetitions are there to confirm an outcome."""
    found: dict[str, dict[str, dict[str, Series]]] = {}
    for lane, answers in report.lanes.items():
        for result in answers.results:
            for name, series in result.series.items():
                found.setdefault(result.id, {}).setdefault(name, {}).setdefault(lane, series)
    if not found:
        return None
    tests = [(test, [_plot(name, lanes) for name, lanes in sorted(plots.items())]) for test, plots in found.items()]
    lanes = [lane for lane in report.lanes if any(lane in one for plots in found.values() for one in plots.values())]
    count = sum(len(plots) for _, plots in tests)
    note = f"{count} sensor{'s' if count > 1 else ''}"
    return Section(
        "sensors", "Power and temperature under load", "sensors.html", {"tests": tests, "lanes": lanes}, note
    )


def _plot(name: str, lanes: Mapping[str, Series]) -> Plot:
    unit = next(iter(lanes.values())).unit
    bottom, top = picture.limits(lanes.values())
    words = tuple((lane, said(series)) for lane, series in lanes.items())
    return Plot(name, f"{top:g} {unit}", f"{bottom:g}", words, picture.lines(name, lanes, bottom, top))


def said(series: Series) -> str:
    """Mean, most, and over how long."""
    values = series.values
    seconds = series.every * len(values)
    mean, most = sum(values) / len(values), max(values)
    return f"{mean:.1f} {series.unit} on average, {most:.1f} {series.unit} at most, over {seconds:.0f} s"
