# SPDX-License-Identifier: GPL-2.0-only
"""What the driver and firmware said to each other, as the driver's own trace points have it.

mbox_set_tail is a message that the driver sends, mbox_set_head one that it has received; both say channel, id and
opcode, neither says what is in it (include/trace/events/amdxdna.h). They are read from a trace instance of our own
(Documentation/trace/ftrace.rst, "Instances"), so that nobody else's tracing is touched.
"""

from __future__ import annotations

import os
from contextlib import suppress

from harness.guest.sysfs import order

INSTANCE = "/sys/kernel/tracing/instances/xdna-harness"
EVENTS = ("mbox_set_tail", "mbox_set_head")
BUFFER_KIB = "1024"


class Mailbox:
    """Listens from :meth:`begin` to :meth:`end`. ``why_not``: in words why it cannot."""

    def __init__(self, instance: str = INSTANCE) -> None:
        self.instance = instance
        self.why_not = ""
        self._ready = False

    def begin(self) -> None:
        """Forget what was said before. The driver may have been loaded anew since: its trace points are then new."""
        self.why_not = ""
        try:
            os.makedirs(self.instance, exist_ok=True)
            if not self._ready:
                order(f"{self.instance}/buffer_size_kb", BUFFER_KIB)
                order(f"{self.instance}/trace_clock", "global")
                self._ready = True
            with open(f"{self.instance}/trace", "w"):
                pass  # empties it
            for name in EVENTS:
                order(f"{self.instance}/events/amdxdna/{name}/enable", "1")
        except OSError as error:
            self.why_not = f"{error.filename or self.instance}: {error.strerror}"

    def end(self) -> list[str]:
        """The lines since :meth:`begin`, in the order in which they happened."""
        lines: list[str] = []
        for name in EVENTS:
            with suppress(OSError):
                order(f"{self.instance}/events/amdxdna/{name}/enable", "0")
        with suppress(OSError), open(f"{self.instance}/trace", errors="replace") as stream:
            lines = [line.strip() for line in stream if any(f" {name}: " in line for name in EVENTS)]
        return lines
