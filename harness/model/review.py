# SPDX-License-Identifier: GPL-2.0-only
"""Everything about one series for a person who reviews it: what a run says, what static checks say about each patch,
what has changed since the previous revision, and where the series stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.model.complaint import Added, CheckReport
from harness.model.report import Report
from harness.model.revision import Previous
from harness.model.standing import Standing


@dataclass(frozen=True)
class Review:
    """``patches`` are the titles, in order. ``no_previous`` says why there is no previous revision; empty if there is
    none to expect. ``command`` asks for the same review again."""

    report: Report
    patches: tuple[str, ...]
    checks: tuple[CheckReport, ...]
    standing: Standing
    previous: Previous | None = None
    no_previous: str = ""
    command: tuple[str, ...] = ()

    @property
    def not_asked(self) -> tuple[CheckReport, ...]:
        """Checks whose silence means nothing."""
        return tuple(check for check in self.checks if check.state == "not asked")

    def added(self, patch: int) -> Iterator[tuple[CheckReport, Added]]:
        """What static checks newly complain about from this patch on."""
        return ((check, added) for check in self.checks for added in check.added if added.patch == patch)
