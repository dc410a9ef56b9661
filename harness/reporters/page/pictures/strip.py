# SPDX-License-Identifier: GPL-2.0-only
"""Answers in a row, one square each: what a test came to, night after night."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.reporters.page.pictures.grid import COLUMNS, GAP, SIDE, square
from harness.reporters.page.pictures.svg import picture


@dataclass(frozen=True)
class Square:
    """``tone`` is the class that colours it and decides its mark (grid.mark_class), ``said`` what a pointer is told."""

    tone: str
    said: str


def strip(label: str, squares: Sequence[Square]) -> Markup:
    """Oldest first; broken into lines that a phone has room for."""
    step = SIDE + GAP
    cells = [
        square(place % COLUMNS * step, place // COLUMNS * step, one.tone, one.said) for place, one in enumerate(squares)
    ]
    wide, tall = min(len(squares), COLUMNS), -(-len(squares) // COLUMNS)
    return picture(label, wide * step - GAP, tall * step - GAP, *cells)
