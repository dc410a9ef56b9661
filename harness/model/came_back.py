# SPDX-License-Identifier: GPL-2.0-only
"""What is true of a machine that was sent into a kernel, and answers again or does not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CameBack(StrEnum):
    """UP: the kernel runs that was sent for. FELL_BACK: it did not come up, or not for long; the machine's own runs.
    NEVER_LEFT: the same boot goes on. AWAY: it does not answer. ASTRAY: a kernel runs that nobody sent for."""

    UP = "up"
    FELL_BACK = "fell back"
    NEVER_LEFT = "never left"
    AWAY = "away"
    ASTRAY = "astray"


@dataclass(frozen=True)
class Sent:
    """From which boot into which release, and which release the machine boots by default."""

    boot_id: str
    release: str
    known_good: str


def judge(sent: Sent, boot_id: str, release: str) -> CameBack:
    """By what it says now; an empty ``boot_id``: it does not answer."""
    if not boot_id:
        return CameBack.AWAY
    if boot_id == sent.boot_id:
        return CameBack.NEVER_LEFT
    if release == sent.release:
        return CameBack.UP
    return CameBack.FELL_BACK if release == sent.known_good else CameBack.ASTRAY
