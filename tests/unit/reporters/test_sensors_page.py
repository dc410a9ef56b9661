# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from harness.formats.records import fold
from harness.model.result import Series
from harness.reporters.page.pictures.series import limits, lines
from harness.reporters.page.sensors import said

BASE, HEAD = Series("W", 1.0, (4.0, 6.0)), Series("W", 1.0, (4.0, 9.5, 5.0))


def test_a_line_for_each_lane() -> None:
    bottom, top = limits([BASE, HEAD])
    assert (bottom, top) == (0.0, 10.0)
    svg = ElementTree.fromstring(lines("RAPL <b>", {"base": BASE, "head": HEAD}, bottom, top))
    traces = [path for path in svg if "trace" in path.get("class", "")]
    assert [path.get("class") for path in traces] == ["trace base", "trace head"]
    assert traces[0].get("d") == "M166.7 57.6L500.0 38.4"
    assert "<b>" in svg.get("aria-label", "")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((50.0, 52.0), (50.0, 52.0)),
        ((0.0, 0.0), (0.0, 1.0)),
        ((70.0, 70.0), (70.0, 71.0)),
        ((-5.0, 5.0), (-10.0, 10.0)),
    ],
)
def test_what_the_picture_shows(values: tuple[float, ...], expected: tuple[float, float]) -> None:
    assert limits([Series("°C", 1.0, values)]) == expected


def test_in_words() -> None:
    assert said(HEAD) == "6.2 W on average, 9.5 W at most, over 3 s"


def test_records_keep_what_sensors_said() -> None:
    series = {"RAPL": {"unit": "W", "every": 2.0, "values": [1, 2.5]}}
    event = {"event": "test-end", "id": "t::a", "attempt": 1, "outcome": "pass", "series": series}
    lane = fold([{"event": "test-start", "id": "t::a", "attempt": 1}, json.loads(json.dumps(event))])
    assert lane.results[0].series == {"RAPL": Series("W", 2.0, (1.0, 2.5))}
