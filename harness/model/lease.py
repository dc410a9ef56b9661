# SPDX-License-Identifier: GPL-2.0-only
"""Who may touch a machine: what a lease is, and when another may take it. Nothing here reads a clock.

Two clocks are never compared. The holder counts from the moment before its last renewal was written; who waits counts,
by its own clock, from the moment at which it first saw that renewal, which is later. So a clock that jumps, here or
there, ends no lease and stretches none. The price: a holder that died elsewhere long ago is waited for once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

SECONDS = 60.0
"""How long a lease holds without a renewal."""
RENEWALS = 3
"""Renewals within that time: two may go missing."""
DRIFT = 0.05
"""How much slower than the waiting one's clock the holder's may go, as a part of the lease's time."""


@dataclass(frozen=True)
class Holder:
    """A process that holds machines. ``place`` names the boot and the process namespace, ``started`` the start of the
    process in ticks: a process number alone is used again. ``run`` is what it does."""

    host: str
    pid: int
    who: str
    run: str
    place: str = ""
    started: int = 0

    def __str__(self) -> str:
        return f"{self.who}@{self.host}, process {self.pid}, {self.run}"


@dataclass(frozen=True)
class Held:
    """A machine's row in the table.

    ``token`` grows with each new holder, ``beat`` counts the renewals of this one. ``acquired`` and ``heartbeat`` are
    wall-clock times, seconds of the epoch: for people. ``held``: nobody has given it back.
    """

    machine: str
    token: int
    beat: int
    seconds: float
    held: bool
    holder: Holder
    acquired: float
    heartbeat: float

    def __str__(self) -> str:
        since = f"{datetime.fromtimestamp(self.acquired):%Y-%m-%d %H:%M:%S}"
        last = f"{datetime.fromtimestamp(self.heartbeat):%H:%M:%S}"
        return f"{self.machine} is held by {self.holder} since {since} (last renewed at {last})"


@dataclass(frozen=True)
class Watch:
    """What one who waits has seen: this renewal of this holder, first at ``since`` (seconds of its own clock)."""

    token: int
    beat: int
    since: float

    @classmethod
    def of(cls, held: Held, now: float, before: Watch | None = None) -> Watch:
        """The watch after one more look at the row."""
        if before is not None and (before.token, before.beat) == (held.token, held.beat):
            return before
        return cls(held.token, held.beat, now)

    def may_take(self, held: Held, now: float) -> bool:
        """Whether the holder has given up, or has stopped by itself since: it was not seen to renew for longer than
        its lease holds."""
        return not held.held or now > self.since + held.seconds * (1 + DRIFT)


def next_token(before: int, now: float) -> int:
    """A larger one than ``before``. It follows the wall clock (milliseconds), so that a table which was lost and begun
    anew, or another user's, overtakes what an older one wrote on the machine."""
    return max(before + 1, int(now * 1000))
