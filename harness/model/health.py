# SPDX-License-Identifier: GPL-2.0-only
"""Whether a machine may be used, and what to try on one that may not. Deciding only; doing is harness/repair.py."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum


class HostState(StrEnum):
    """HEALTHY can be used. SUSPECT did something that only a broken machine does: it is repaired before it is used.
    BROKEN: nothing that we can do helps; a person must."""

    HEALTHY = "HEALTHY"
    SUSPECT = "SUSPECT"
    BROKEN = "BROKEN"


@dataclass(frozen=True)
class Health:
    """Since ``at`` (seconds of the epoch), as ``run`` found, for a ``reason`` that a person can read."""

    state: HostState
    reason: str
    at: float
    run: str


class Act(StrEnum):
    """What can be tried. A probe asks: does it answer, with its own kernel, and is it fit for a run?"""

    PROBE = "probe"
    REBOOT = "reboot"
    POWER_CYCLE = "power cycle"


ESCALATION = (Act.REBOOT, Act.POWER_CYCLE, Act.POWER_CYCLE)
"""From what costs least. The second power cycle is for a machine that stumbled once while it came up."""


@dataclass(frozen=True)
class Tried:
    """What was tried; ``said`` is what went wrong, empty when it went well."""

    act: Act
    said: str = ""


@dataclass(frozen=True)
class Outcome:
    """The end of a repair."""

    state: HostState
    reason: str


def decide(tried: Sequence[Tried], can: Collection[Act]) -> Act | Outcome:
    """The next thing to try, or how it ended. ``can``: what this machine offers besides the probe.

    Each act is followed by a probe; one that could not be done at all is followed by the next one. HEALTHY is only what
    the last probe said.
    """
    if not tried or (tried[-1].act is not Act.PROBE and not tried[-1].said):
        return Act.PROBE
    if tried[-1].act is Act.PROBE and not tried[-1].said:
        return Outcome(HostState.HEALTHY, _healed(tried))
    done = [one.act for one in tried if one.act is not Act.PROBE]
    left = [act for act in ESCALATION if act in can][len(done) :]
    return left[0] if left else Outcome(HostState.BROKEN, _story(tried))


def _healed(tried: Sequence[Tried]) -> str:
    acts = [one.act for one in tried if one.act is not Act.PROBE and not one.said]
    return f"answers again after a {acts[-1]}" if acts else "answers as it should"


def _story(tried: Sequence[Tried]) -> str:
    return "; ".join(f"{one.act}: {one.said or 'done'}" for one in tried)
