# SPDX-License-Identifier: GPL-2.0-only
"""Trends of tests over the nights, as text and JSON; the page is page/nights.py. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from harness.log import printable
from harness.model.trend import LEGEND, Trend


def text(found: Sequence[Trend], nights: int, whole: bool) -> str:
    """A line for each test and job that is not quiet; ``whole``: of all, with each night."""
    quiet = sum(trend.quiet for trend in found)
    lines = [f"the last {nights} nights: {len(found)} tests and jobs, {quiet} of them the same, and well, in every one"]
    for trend in found:
        if trend.quiet and not whole:
            continue
        flakes = f"  flaky {trend.flakes}" if trend.flakes.times else ""
        lines.append(f"  {trend.letters}  {trend.test}  [{trend.title}]{flakes}")
        if whole:
            lines += [f"      {point}  {point.folder}" for point in trend.points]
    return printable("\n".join([*lines, f"  ({LEGEND})"])) + "\n"


def data(found: Sequence[Trend]) -> str:
    """A list: ``test``, ``job``, ``flakes`` (times, of, low and high: the 95 % interval), and ``points``, oldest first:
    night, started (local time), answer, seconds, kernel, folder, inputs (a hash of all that the answer depended on)."""
    return json.dumps([_trend(trend) for trend in found], indent=1) + "\n"


def _trend(trend: Trend) -> dict[str, Any]:
    flakes = trend.flakes
    low, high = flakes.interval()
    names = ("night", "answer", "seconds", "kernel", "folder", "inputs")
    points = [
        {
            **{name: getattr(point, name) for name in names},
            "started": datetime.fromtimestamp(point.started).isoformat(timespec="seconds"),
        }
        for point in trend.points
    ]
    rate = {"times": flakes.times, "of": flakes.trials, "low": round(low, 4), "high": round(high, 4)}
    return {"test": trend.test, "job": trend.title, "flakes": rate, "points": points}
