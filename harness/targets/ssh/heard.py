# SPDX-License-Identifier: GPL-2.0-only
"""What the agent on a machine has told of its suite: where that is, and what the kernel said last."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Any

from harness.formats.splat import find_splats
from harness.host.agent import Event
from harness.model.result import KERNEL_LOG
from harness.model.session import SuiteRequest

LOG_LINES = 160


class Heard:
    """Of one session. ``whole_log``: what its kernel said before the first test is this session's, too."""

    def __init__(self, whole_log: bool) -> None:
        self.last: dict[str, Any] = {}
        """The test that ran last: boot, attempt, id."""
        self.since = 0.0
        """When that began, in seconds since the boot."""
        self.complained = False
        """Whether the kernel had a splat in its log before the first test."""
        self.quiet_since: float | None = None
        """Until when the kernel's words are told, in seconds since the boot; None: the suite has not ended."""
        self.messages: deque[str] = deque(maxlen=LOG_LINES)
        """The kernel's last words, for the day when it cannot be asked."""
        self._spoke = 0.0
        self._whole_log = whole_log

    def begin(self, request: SuiteRequest) -> None:
        """A suite begins; what is lost before its first test is the kernel's log's."""
        self.last = {"boot": request.boot, "attempt": request.attempt, "id": KERNEL_LOG}

    def hear(self, event: Event) -> None:
        """An event of the suite, whatever the machine says."""
        if event.get("event") == "suite-start" and self._whole_log:
            self.complained = bool(find_splats(event.get("kmsg") or ()))
        elif event.get("event") == "test-start":
            self.last["id"] = str(event["id"])
            self.since = float(event.get("uptime") or 0.0)
        for record in event.get("kmsg") or ():
            with suppress(KeyError, TypeError, ValueError):
                self._spoke = max(self._spoke, float(record["time"]))
                self.messages.append(f"[{float(record['time']):12.6f}] {record['text']}")
        if event.get("event") == "suite-end":
            self.quiet_since = self._spoke or float(event.get("uptime") or 0.0)
