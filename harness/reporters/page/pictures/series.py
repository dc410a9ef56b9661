# SPDX-License-Identifier: GPL-2.0-only
"""A sensor over time: a line for each lane."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from markupsafe import Markup

from harness.model.result import Series
from harness.reporters.page.pictures.svg import element, picture

WIDTH, HEIGHT = 1000.0, 96.0
LEAST = 1.0
"""A sensor that hardly moves is drawn as a line, not as noise: so many units are in the picture at least."""


def limits(found: Iterable[Series]) -> tuple[float, float]:
    """Bottom and top of the picture, in the sensor's unit: powers and percentages from 0."""
    values = [value for series in found for value in series.values]
    low, high = min(values), max(values)
    step = 10.0 ** math.floor(math.log10(max(high - low, LEAST)))
    bottom = math.floor(low / step) * step if low > 0 and high - low < low else min(0.0, math.floor(low / step) * step)
    return bottom, max(math.ceil(high / step) * step, bottom + LEAST)


def lines(name: str, lanes: Mapping[str, Series], bottom: float, top: float) -> Markup:
    """As wide as the longest of them."""
    most = max(series.every * len(series.values) for series in lanes.values())
    rules = [element("path", class_="rule", d=f"M0 {HEIGHT * n / 4}H{WIDTH}") for n in (1, 2, 3)]
    drawn = [
        element("path", class_=f"trace {'base' if lane == 'base' else 'head'}", d=_path(series, most, bottom, top))
        for lane, series in lanes.items()
    ]
    return picture(f"{name} over time, {', '.join(lanes)}", WIDTH, HEIGHT, *rules, *drawn, stretch=True)


def _path(series: Series, most: float, bottom: float, top: float) -> str:
    points = [
        f"{(number + 0.5) * series.every / most * WIDTH:.1f} {HEIGHT * (top - value) / (top - bottom):.1f}"
        for number, value in enumerate(series.values)
    ]
    return "M" + "L".join(points) + ("h0.1" if len(points) == 1 else "")
