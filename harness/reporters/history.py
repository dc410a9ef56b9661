# SPDX-License-Identifier: GPL-2.0-only
"""Trends of tests over the nights: text, JSON, and a small page that needs nothing else. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from jinja2 import Environment

from harness.log import printable
from harness.model.night import Answer
from harness.model.trend import LEGEND, LETTERS, Point, Trend

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 1rem auto; max-width: 75rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
td, th { border-bottom: 1px solid #8886; padding: .3rem .5rem; text-align: left; vertical-align: top; }
td { overflow-wrap: anywhere; }
.job { color: GrayText; display: block; font-size: .85rem; }
.row { display: flex; flex-wrap: wrap; gap: 2px; }
.row span { border-radius: 2px; font: bold .75rem/1.2rem ui-monospace, monospace; text-align: center; width: 1.2rem; }
.PASS { background: #2a7d3f; color: #fff; } .FAIL, .LOST { background: #b3261e; color: #fff; }
.FLAKY { background: #e0a100; color: #000; }
.KNOWN, .SKIP { background: #8888; } .ERROR { background: #7a4fb5; color: #fff; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<p>{{ quiet }} of {{ total }} came out the same, and well, in every night; the others are below. {{ legend }}</p>
{% if rows %}
<table>
<thead><tr><th scope="col">test</th><th scope="col">nights, oldest first</th><th scope="col">flakes</th></tr></thead>
<tbody>
{% for row in rows %}
<tr>
<td>{{ row.test }}<span class="job">{{ row.title }}</span></td>
<td><div class="row">
{%- for point in row.points -%}
<span class="{{ point.answer }}" title="{{ point.said }}">{{ point.letter }}</span>
{%- endfor -%}
</div></td>
<td>{{ row.flakes }}</td>
</tr>
{% endfor %}
</tbody>
</table>
{% endif %}
</body>
</html>
"""


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
            lines += [f"      {_said(point)}  {point.folder}" for point in trend.points]
    return printable("\n".join([*lines, f"  ({LEGEND})"])) + "\n"


def _said(point: Point) -> str:
    when = datetime.fromtimestamp(point.started)
    return f"night {point.night}, {when:%Y-%m-%d %H:%M}: {point.answer}, {point.seconds:.1f} s, {point.kernel}"


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


def page(found: Sequence[Trend], title: str, whole: bool) -> str:
    """One file of HTML. Every text is escaped, and shows its control characters."""
    rows = [
        {
            "test": printable(trend.test),
            "title": printable(trend.title),
            "flakes": str(trend.flakes) if trend.flakes.times else "",
            "points": [
                {"answer": p.answer.value, "letter": LETTERS[p.answer], "said": printable(_said(p))}
                for p in trend.points
            ],
        }
        for trend in found
        if whole or not trend.quiet
    ]
    environment = Environment(autoescape=True, trim_blocks=True)
    return environment.from_string(PAGE).render(
        title=printable(title),
        rows=rows,
        quiet=sum(trend.quiet for trend in found),
        total=len(found),
        legend=", ".join(f"{LETTERS[answer]} is {answer}" for answer in Answer),
    )
