# SPDX-License-Identifier: GPL-2.0-only
"""What a machine must have before a kernel goes there, and which of ours must go first."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from harness.model.lab_host import Installed, LabHost

KEPT = 4
"""How many kernels of ours stay on a machine: base and head, and those of the run before."""
SPARE_KIB = 64 << 10
"""What stays free in each folder: a full /boot hurts the machine's own updates."""
TMP_KIB = 256 << 10
"""What a suite may write below /tmp."""
SKEW_SECONDS = 2.0
"""A clock that is further off than the answer's way is said to be wrong."""


@dataclass(frozen=True)
class Room:
    """``remove``: releases of ours that go first. ``lacks``: why it does not fit even then; empty: it fits."""

    remove: tuple[str, ...]
    lacks: str = ""


def make_room(host: LabHost, release: str, kib: int, keep: Collection[str] = ()) -> Room:
    """What has to go so that a kernel of ``kib`` fits: beyond a number the one that was not booted for the longest
    time, and more of them where space is short. ``keep`` are of this run; the one that runs stays, too."""
    there = {kernel.release for kernel in host.installed}
    needed = 0 if release in there else kib
    held = {release, host.release, *keep}
    oldest = sorted((k for k in host.installed if k.release not in held), key=lambda kernel: kernel.used)
    left = len(there | {release})
    free = host.free.get("/boot", 0)
    gone: list[Installed] = []
    while oldest and (left > KEPT or free < needed + SPARE_KIB):
        gone.append(oldest.pop(0))
        left, free = left - 1, free + gone[-1].kib
    lacks = ""
    if needed and free < needed + SPARE_KIB:
        lacks = f"/boot has {free >> 10} MiB free, and {(needed + SPARE_KIB) >> 10} MiB are needed"
    elif host.free.get("/tmp", TMP_KIB) < TMP_KIB:
        lacks = f"/tmp has {host.free['/tmp'] >> 10} MiB free, and {TMP_KIB >> 10} MiB are needed"
    return Room(tuple(kernel.release for kernel in gone), lacks)


def skew(host_clock: float, our_clock: float) -> float:
    """How far the machine's clock is ahead of ours, in seconds; 0 where that is no more than the answer's way."""
    difference = host_clock - our_clock
    return difference if host_clock and abs(difference) > SKEW_SECONDS else 0.0


def jumped(before: float, after: float) -> float:
    """By how much the clock moved against ours meanwhile; 0: it did not."""
    return after - before if abs(after - before) > SKEW_SECONDS else 0.0
