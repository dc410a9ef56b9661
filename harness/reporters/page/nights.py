# SPDX-License-Identifier: GPL-2.0-only
"""Trends -> one HTML file: tests against nights. What needs a look stands first, what never changed is folded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.model.night import BAD, Answer
from harness.model.result import Outcome
from harness.model.trend import Trend
from harness.reporters.page.document import Section, document
from harness.reporters.page.pictures.grid import mark_class
from harness.reporters.page.pictures.strip import Square, strip

TONES = {
    Answer.PASS: mark_class(Outcome.PASS),
    Answer.SKIP: mark_class(Outcome.SKIP),
    Answer.KNOWN: mark_class(Outcome.FAIL, known=True),
    Answer.FLAKY: mark_class(Outcome.ERROR),
    Answer.FAIL: mark_class(Outcome.FAIL),
    Answer.LOST: mark_class(Outcome.LOST),
    Answer.ERROR: mark_class(None),
}
FILTERS = (("bad", "bad now"), ("flaky", "flaky"), ("changed", "changed"))


@dataclass(frozen=True)
class Row:
    """One test in one job. ``kinds`` are the filters that show it, ``nights`` what each night said, newest first."""

    test: str
    title: str
    kinds: str
    strip: Markup
    flakes: str
    nights: tuple[str, ...]


def render(found: Sequence[Trend], title: str, whole: bool) -> str:
    """``whole``: what never changed is unfolded too."""
    loud = [trend for trend in found if not trend.quiet]
    quiet = [trend for trend in found if trend.quiet]
    kinds = Counter(kind for trend in loud for kind in _kinds(trend))
    tiles = [(word, kinds[kind], "tests", "bad" if kind == "bad" else "doubt") for kind, word in FILTERS]
    tiles.append(("the same, and well, in every night", len(quiet), "quiet", "good"))
    top = Section("top", title, "nights_first.html", {"title": title, "tiles": tiles, "legend": LEGEND})
    sections = []
    if loud:
        filters = [(kind, word, kinds[kind]) for kind, word in FILTERS if kinds[kind]]
        data = {"rows": [_row(trend) for trend in loud], "filters": filters}
        tone = "bad" if kinds["bad"] else "doubt"
        sections.append(Section("tests", "What needs a look", "nights.html", data, str(len(loud)), tone, open=True))
    if quiet:
        data = {"rows": [_row(trend) for trend in quiet], "filters": []}
        sections.append(Section("quiet", "Never changed", "nights.html", data, str(len(quiet)), open=whole))
    return document(title, top, sections)


def _kinds(trend: Trend) -> list[str]:
    answers = {point.answer for point in trend.points}
    kinds = ["bad"] if trend.points[-1].answer in BAD else []
    kinds += ["flaky"] if trend.flakes.times else []
    return kinds + (["changed"] if len(answers) > 1 else [])


def _row(trend: Trend) -> Row:
    squares = [Square(TONES[point.answer], str(point)) for point in trend.points]
    words = ", ".join(f"{count} {answer}" for answer, count in Counter(p.answer for p in trend.points).items())
    flakes = str(trend.flakes) if trend.flakes.times else ""
    nights = tuple(f"{point}  {point.folder}" for point in reversed(trend.points))
    return Row(
        trend.test, trend.title, " ".join(_kinds(trend)), strip(f"oldest first: {words}", squares), flakes, nights
    )


LEGEND = [(str(answer), strip(str(answer), [Square(tone, str(answer))])) for answer, tone in TONES.items()]
