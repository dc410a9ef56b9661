# SPDX-License-Identifier: GPL-2.0-only
"""Lanes against tests: for each file of the suite its tests as columns, the lanes as rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.model.result import Outcome
from harness.reporters.page.pictures.svg import element, picture, title

SIDE, GAP = 11, 2
COLUMNS = 22
"""As many as a phone of 360 px has room for."""
ROW_GAP = 7
KNOWN = "known"
Cell = tuple[Outcome | None, bool]
"""An answer, None where the lane has none, and whether it is known to fail."""


@dataclass(frozen=True)
class Group:
    """One file: its picture, and the same in words."""

    name: str
    words: str
    svg: Markup


def groups(lanes: Sequence[str], tests: Mapping[str, Sequence[Cell]]) -> list[Group]:
    """``tests`` has a cell for each lane, in their order."""
    files: dict[str, list[str]] = {}
    for test in tests:
        files.setdefault(test.partition("::")[0], []).append(test)
    return [_group(name, lanes, {test: tests[test] for test in mine}) for name, mine in sorted(files.items())]


def _group(name: str, lanes: Sequence[str], tests: Mapping[str, Sequence[Cell]]) -> Group:
    counts = [Counter(word(*answers[row]) for answers in tests.values()) for row in range(len(lanes))]
    said = [
        f"{lane}: " + ", ".join(f"{n} {o}" for o, n in sorted(c.items())) for lane, c in zip(lanes, counts, strict=True)
    ]
    tall = len(lanes) * (SIDE + GAP) - GAP + ROW_GAP
    cells = [
        _cell(place % COLUMNS * (SIDE + GAP), place // COLUMNS * tall + row * (SIDE + GAP), cell, f"{test}, {lane}")
        for place, (test, answers) in enumerate(tests.items())
        for row, (lane, cell) in enumerate(zip(lanes, answers, strict=True))
    ]
    rows = -(-len(tests) // COLUMNS)
    wide = min(len(tests), COLUMNS) * (SIDE + GAP) - GAP
    words = "; ".join(said)
    return Group(name, words, picture(f"{name}. {words}", wide, rows * tall - ROW_GAP, *cells))


def _cell(x: int, y: int, cell: Cell, what: str) -> Markup:
    return square(x, y, mark_class(*cell), f"{what}: {word(*cell)}")


def square(x: int, y: int, tone: str, said: str) -> Markup:
    """One answer; ``tone`` is its :func:`mark_class`. Its form says what its colour says."""
    box = element("rect", class_="box", x=x + 0.5, y=y + 0.5, width=SIDE - 1, height=SIDE - 1, rx=2)
    return element("g", title(said), box, *_mark(x, y, tone.split()[0]), class_=f"cell {tone}")


def word(outcome: Outcome | None, known: bool = False) -> str:
    """An answer in words."""
    return f"{outcome or 'no answer'}{', known' if known else ''}"


def mark_class(outcome: Outcome | None, known: bool = False) -> str:
    """The class that colours an answer, here and in lists."""
    return (f"o-{outcome.lower()}" if outcome else "o-none") + (f" {KNOWN}" if known else "")


def _mark(x: int, y: int, tone: str) -> list[Markup]:
    low, high, middle = 3, SIDE - 3, SIDE / 2
    lines = {
        "o-fail": f"M{x + low} {y + low}L{x + high} {y + high}M{x + high} {y + low}L{x + low} {y + high}",
        "o-lost": f"M{x + low} {y + low}L{x + high} {y + high}",
        "o-skip": f"M{x + low} {y + middle}L{x + high} {y + middle}",
    }
    if tone in lines:
        return [element("path", class_="mark", d=lines[tone])]
    if tone == "o-error":
        return [element("circle", class_="dot", cx=x + middle, cy=y + middle, r=2)]
    return []
