# SPDX-License-Identifier: GPL-2.0-only
"""What was sent, kept so that it can be sent again from any byte on: a connection that breaks loses what was under
way."""

from __future__ import annotations

KEPT = 24 << 20
"""Bytes. Three times the longest line, and more than what travels at the start: the other end answers each before the
next is sent."""


class Outbox:
    """The end of a stream. ``sent`` counts its bytes from the beginning."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._tail = bytearray()
        self.sent = 0

    def add(self, data: bytes) -> None:
        self.sent += len(data)
        self._tail += data
        del self._tail[: max(0, len(self._tail) - self._kept)]

    def since(self, had: int) -> bytes:
        """What the other end lacks when it has had so many bytes. ValueError: that is no longer kept, or never was."""
        missing = self.sent - had
        if not 0 <= missing <= len(self._tail):
            raise ValueError(f"had {had} bytes of {self.sent}, and {len(self._tail)} are kept")
        return bytes(self._tail[len(self._tail) - missing :])
