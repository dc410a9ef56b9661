# SPDX-License-Identifier: GPL-2.0-only
"""The pytest suite as a check: needs a session, writes every event to the lane's records as it happens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.model.session import Lost, Session, SessionLost, SuiteRequest

Add = Callable[[Mapping[str, Any]], None]


def planned(events: Sequence[Mapping[str, Any]], attempt: int, group: str = "") -> tuple[str, ...] | None:
    """The ids that a group's guest announced first in this attempt, in order; None if it never started."""
    boots = {e["boot"] for e in events if e.get("event") == "boot" and e.get("group", "") == group}
    for event in events:
        if event.get("event") == "suite-start" and event.get("attempt") == attempt and event.get("boot") in boots:
            return tuple(map(str, event["tests"]))
    return None


def run_suite(session: Session, request: SuiteRequest, add: Add) -> Lost | None:
    """Run the suite to its end, or until the target is lost; returns why it was lost.

    A test that was running then is recorded as "lost": LOST when the kernel is at fault, ERROR when we are. A kernel
    that dies just after a test reported takes that test along, as its messages would have; when we are at fault then,
    the test is in doubt: a "fault" event.
    """
    running = last = ""
    try:
        for event in session.suite(request):
            if event.get("event") == "test-start":
                running = last = str(event["id"])
            elif event.get("event") == "test-end":
                running = ""
            add(event)
    except SessionLost as lost:
        if running or (last and not lost.lost.ours):
            add(lost_event(lost.lost, running or last, request))
        elif last:
            place = {"boot": request.boot, "attempt": request.attempt, "id": last}
            add({"event": "fault", "what": lost.lost.evidence, **place})
        return lost.lost
    return None


def lost_event(lost: Lost, test: str, request: SuiteRequest) -> dict[str, Any]:
    """The record of a test that was announced and never reported, or behind which the kernel died."""
    return {
        "event": "lost",
        "boot": request.boot,
        "attempt": request.attempt,
        "id": test,
        "outcome": "ERROR" if lost.ours else "LOST",
        "evidence": lost.evidence,
        "console": lost.console,
    }
