# SPDX-License-Identifier: GPL-2.0-only
"""Doing what harness/model/health.py decides, and writing down what came of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from harness.host.health import HealthRecord
from harness.log import say, step
from harness.model.health import Act, Health, HostState, Outcome, Tried, decide


class Hands(Protocol):
    """Who can do something with a machine. ``do`` returns what went wrong, in words."""

    @property
    def can(self) -> Collection[Act]: ...

    def do(self, act: Act) -> str: ...


def repair(machine: str, hands: Hands, record: HealthRecord, run: str) -> Outcome:
    """Probe a machine; whatever that says, try on until it is HEALTHY or BROKEN. Who calls holds its lease: LeaseLost
    ends the repair, and leaves the state as it was. So does a person who calls it BROKEN meanwhile."""
    tried: list[Tried] = []
    before = record.now(machine)
    while not isinstance(next_step := decide(tried, hands.can), Outcome):
        if next_step is Act.PROBE and not tried:
            said = hands.do(next_step)
        else:
            with step(f"repairing {machine}: {next_step}"):
                said = hands.do(next_step)
        tried.append(Tried(next_step, said))
        if said:
            say(f"{machine}: {next_step}: {said}")
            if given_up := _given_up(machine, record, before):
                return given_up
            record.set(machine, HostState.SUSPECT, f"{next_step}: {said}", run)
    if given_up := _given_up(machine, record, before):
        return given_up
    record.set(machine, next_step.state, next_step.reason, run)
    return next_step


def _given_up(machine: str, record: HealthRecord, before: Health | None) -> Outcome | None:
    """Whether somebody has taken the machine out of use since ``before``: who repairs calls it BROKEN only in the
    end."""
    now = record.now(machine)
    broken = now is not None and now != before and now.state is HostState.BROKEN
    return Outcome(now.state, now.reason) if now is not None and broken else None
