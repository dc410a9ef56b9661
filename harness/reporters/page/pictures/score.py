# SPDX-License-Identifier: GPL-2.0-only
"""A rate with its interval: how far it can be trusted is part of the picture."""

from __future__ import annotations

from markupsafe import Markup

from harness.model.rate import Rate
from harness.reporters.page.pictures.svg import element, picture

HEIGHT = 16.0


def interval(label: str, rate: Rate) -> Markup:
    """A rail from 0 to 1, the 95 % interval as a band on it, the rate as a line."""
    low, high = rate.interval()
    at = 100 * rate.times / rate.trials if rate.trials else 0.0
    return picture(
        f"{label}: {rate}",
        100,
        HEIGHT,
        element("rect", class_="rail", x=0, y=5, width=100, height=6),
        element("rect", class_="band", x=100 * low, y=2, width=max(100 * (high - low), 0.5), height=12),
        element("path", class_="needle", d=f"M{at:.2f} 0V{HEIGHT}"),
        stretch=True,
    )
