# SPDX-License-Identifier: GPL-2.0-only
"""Report -> one HTML file that loads nothing: the verdict first, then what got worse, then everything else, folded.

Which sections a page has, and in which order, is decided here; each builder gives a :class:`Section`, or None when it
has nothing to say.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.model.report import Report
from harness.reporters.page import failures, first, lab, lists, numbers, sensors, suite
from harness.reporters.page.document import Section, document

BEFORE = (failures.worse, failures.unanswered, lists.patches)
BEHIND = (
    lists.better,
    suite.grid,
    lists.flaky,
    lists.known,
    lists.same,
    lab.coverage,
    numbers.measures,
    numbers.memory,
    sensors.sensors,
    suite.durations,
    suite.tests,
    lab.detectors,
    lab.how,
)


def render(report: Report, more: Sequence[Section] = ()) -> str:
    """``more`` are sections of others (a review), which stand between what got worse and everything else."""
    before = [section for build in BEFORE if (section := build(report)) is not None]
    behind = [section for build in BEHIND if (section := build(report)) is not None]
    return document(f"{report.verdict}: {report.title}", first.top(report), [*before, *more, *behind])
