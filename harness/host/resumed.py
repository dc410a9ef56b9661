# SPDX-License-Identifier: GPL-2.0-only
"""A stream that outlives its connection: when that breaks, a new one goes on where it was.

The other end is harness/guest/keeper.py. Who connects says {"have":N}, how many bytes he has had, is told the same, and
both send what the other lacks.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from harness.host.port import PortClosed, Stream

KEPT = 24 << 20
"""Bytes that can be sent again; what travels at the start is less, and is answered before more is sent."""
HANDSHAKE_SECONDS = 30.0
BREAKS = (OSError, EOFError)


class Resumed:
    """``dial`` makes a connection to the same keeper, and waits for it as long as that makes sense. Raises PortClosed
    when there is none any more. ``note`` is told of each connection that was lost."""

    def __init__(self, dial: Callable[[], Stream], note: Callable[[str], None]) -> None:
        self._dial = dial
        self._note = note
        self._timeout: float | None = None
        self._sent = 0
        self._tail = bytearray()
        self._taken = 0
        self._stream: Stream = self._connect()

    def settimeout(self, value: float | None, /) -> None:
        self._timeout = value
        self._stream.settimeout(value)

    def recv(self, nbytes: int, /) -> bytes:
        """At least one byte. Raises TimeoutError, PortClosed."""
        while True:
            try:
                piece = self._stream.recv(nbytes)
            except TimeoutError:
                raise
            except BREAKS:
                piece = b""
            if piece:
                self._taken += len(piece)
                return piece
            self._again()

    def sendall(self, data: bytes, /) -> None:
        """Raises PortClosed. A connection that does not take it in time is given up for a new one."""
        self._sent += len(data)
        self._tail += data
        del self._tail[: max(0, len(self._tail) - KEPT)]
        try:
            self._stream.sendall(data)
        except BREAKS:
            self._again()

    def close(self) -> None:
        self._stream.close()

    def _again(self) -> None:
        self._note("the connection was lost")
        self._stream.close()
        self._stream = self._connect()
        self._note("and is back")

    def _connect(self) -> Stream:
        """A connection on which both have what the other sent."""
        for _ in range(3):  # one that breaks at once: a link that comes and goes
            stream = self._dial()
            stream.settimeout(HANDSHAKE_SECONDS)
            try:
                stream.sendall(json.dumps({"have": self._taken}).encode() + b"\n")
                had = int(json.loads(_line(stream))["have"])
                missing = self._sent - had
                if not 0 <= missing <= len(self._tail):
                    raise PortClosed(f"the keeper has had {had} bytes of {self._sent}")
                stream.sendall(bytes(self._tail[len(self._tail) - missing :]))
                stream.settimeout(self._timeout)
                return stream
            except (*BREAKS, ValueError, KeyError, TypeError):
                stream.close()
        raise PortClosed("the keeper does not answer")


def _line(stream: Stream) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < 100:
        byte = stream.recv(1)
        if not byte:
            raise OSError("closed")
        line += byte
    return bytes(line)
