# SPDX-License-Identifier: GPL-2.0-only
"""The first screen: the verdict, of what, on what, how sure, and how many of each."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from markupsafe import Markup

from harness.model.judge import Change, Verdict
from harness.model.report import LaneReport, Report
from harness.model.result import Outcome
from harness.reporters.page.document import Section
from harness.reporters.page.pictures.grid import KNOWN, mark_class
from harness.reporters.page.pictures.svg import element, picture, title

TONES = {Verdict.GOOD: "good", Verdict.BAD: "bad", Verdict.UNKNOWN: "doubt"}
SAID = {
    Verdict.GOOD: ("Nothing got worse.", "Nothing fails that is not known to."),
    Verdict.BAD: ("Something got worse.", "Something fails that is not known to."),
    Verdict.UNKNOWN: ("Nobody can say whether anything got worse.", "Nobody can say whether anything is wrong."),
}
REASONS = 3
VARIANT = re.compile(r"(.+)-(npu\d+)-(.+)-(plain|debug)-(\w+)")
FACTS = ("series", "kernel", "base", "edit", "accelerator", "begun", "seconds")


@dataclass(frozen=True)
class Lane:
    """A row of the first screen's table."""

    name: str
    kernel: str
    words: str
    svg: Markup


def top(report: Report) -> Section:
    facts = [(name, report.facts[name]) for name in FACTS if name in report.facts]
    facts = [
        (name, text.partition(": ")[0] if name == "series" else text) for name, text in facts
    ]  # its title is there
    reasons = report.judgement.reasons
    data = {
        "verdict": str(report.verdict),
        "tone": TONES[report.verdict],
        "said": SAID[report.verdict]["base" not in report.lanes],
        "title": report.title,
        "link": report.link,
        "doubts": report.doubts,
        "reasons": reasons[:REASONS],
        "more": len(reasons) - REASONS,
        "variant": report.variant,
        "facts": [("on", _on(report.variant)), *facts],
        "lanes": [_lane(lane) for lane in report.lanes.values()],
        "tiles": _tiles(report),
        "key": report.key,
    }
    return Section("verdict", "Verdict", "first.html", data)


def _on(variant: str) -> str:
    """A variant's name (harness/model/variant.py) in words."""
    if (parts := VARIANT.fullmatch(variant)) is None:
        return variant
    target, npu, mode, profile, start = parts.groups()
    return f"{npu} ({target}), {mode} addresses, {profile} kernel, guests {start}"


def _tiles(report: Report) -> list[tuple[str, int, str, str]]:
    """Word, number, anchor and tone of what a reader may want to jump to."""
    worse = len(report.ids(Change.REGRESSED)) + len(report.ids(Change.SUSPECT))
    tiles = [
        ("worse" if "base" in report.lanes else "fail, not known", worse, "worse", "bad"),
        ("not answered", len(report.ids(Change.UNANSWERED)), "unanswered", "doubt"),
        ("better", len(report.ids(Change.FIXED)), "better", "good"),
        ("flaky", len(report.ids(Change.FLAKY)), "flaky", "doubt"),
        ("known to fail", len(report.known), "known", ""),
        ("tests", len([c for c in report.judgement.comparisons if not c.id.startswith("stage/")]), "tests", ""),
    ]
    return [tile for tile in tiles if tile[1] or tile[2] == "worse"]


def _lane(lane: LaneReport) -> Lane:
    asked = [r for r in lane.results if r.attempt == 1 and not r.is_stage]
    counts = Counter((str(r.outcome), mark_class(r.outcome, r.id in lane.known)) for r in asked)
    order = list(Outcome)
    found = sorted(counts.items(), key=lambda entry: (order.index(Outcome(entry[0][0])), entry[0][1]))
    slices = [
        (f"{number} {word}{', known' if tone.endswith(KNOWN) else ''}", tone, number) for (word, tone), number in found
    ]
    at, bars = 0.0, []
    for words, tone, number in slices:
        wide = 100 * number / len(asked)
        bars.append(element("rect", title(words), class_=f"slice {tone}", x=at, y=0, width=wide, height=8))
        at += wide
    said = "; ".join(words for words, _, _ in slices) or "no test ran"
    return Lane(lane.name, lane.kernel, said, picture(f"{lane.name}: {said}", 100, 8, *bars, stretch=True))
