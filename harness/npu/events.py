# SPDX-License-Identifier: GPL-2.0-only
"""The log: one JSON line per message and per event, in a file and in memory, numbered from 1.

A message: {"n", "t", "channel", "opcode", "name", "id", "request", "status", "action"}. An event: {"n",
"t", "event"} and what belongs to it. ``t`` is in seconds since the process started. Kinds of events:
README.md.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class EventLog:
    """Written through at every entry, so a killed process loses nothing."""

    def __init__(self, path: Path | None = None) -> None:
        self._start = time.monotonic()
        self._file = path.open("a", buffering=1) if path else None
        self.entries: list[Entry] = []
        self.faults = 0

    def add(self, **fields: Any) -> Entry:
        """Append an entry and return it."""
        entry: Entry = {"n": len(self.entries) + 1, "t": round(time.monotonic() - self._start, 6), **fields}
        self.entries.append(entry)
        if self._file:
            self._file.write(json.dumps(entry) + "\n")
        return entry

    def event(self, event: str, **fields: Any) -> None:
        """Something happened that is no message."""
        self.add(event=event, **fields)

    def fault(self, what: str) -> None:
        """The emulation is at its end: something it does not know, or an exception. No driver is to blame."""
        self.faults += 1
        self.add(event="fault", what=what)

    def since(self, number: int) -> list[Entry]:
        """Entries after entry ``number`` (0: all)."""
        return self.entries[max(0, number) :]

    def close(self) -> None:
        if self._file:
            self._file.close()
