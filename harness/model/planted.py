# SPDX-License-Identifier: GPL-2.0-only
"""Planted bugs: edits that break the driver on purpose, to see whether the suite notices. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.model.edit import Edits


class BugKind(StrEnum):
    """What a planted edit does wrong; ``neutral`` ones do nothing wrong, and must not be noticed."""

    LOST_PUT = "lost-put"
    EXTRA_PUT = "extra-put"
    ROLLBACK = "rollback"
    CHUNK = "chunk"
    BORDER = "border"
    SIZE_CAP = "size-cap"
    ERRNO = "errno"
    LOCK = "lock"
    RUNTIME_PM = "runtime-pm"
    CLOSE_ORDER = "close-order"
    STATUS = "status"
    MESSAGE = "message"
    OVERFLOW = "overflow"
    UNINITIALISED = "uninitialised"
    USE_AFTER_FREE = "use-after-free"
    RACE = "race"
    NEUTRAL = "neutral"


@dataclass(frozen=True)
class Planted:
    """One bug. ``series``: in code that the expandable heap's series adds. ``survives``: why no test can see it from
    outside the kernel; empty if one should."""

    kind: BugKind
    edits: Edits
    series: bool = False
    survives: str = ""

    @property
    def id(self) -> str:
        return self.edits.name

    @property
    def title(self) -> str:
        return self.edits.title
