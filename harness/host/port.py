# SPDX-License-Identifier: GPL-2.0-only
"""The host's end of the port: JSON lines over a stream, both ways.

What comes in is written by a kernel under test: a line may be cut, mangled or endless. A line that is no JSON object is
kept as {"event": "garbled"}, never trusted and never fatal.
"""

from __future__ import annotations

import json
import time
from typing import Any, Protocol

from harness.errors import InfraError

MAX_LINE = 8 << 20
"""Bytes. A test's kernel messages are the longest thing that legitimately crosses the port."""


class Stream(Protocol):
    """What a connected socket and an ssh channel have in common."""

    def settimeout(self, value: float | None, /) -> None: ...

    def recv(self, nbytes: int, /) -> bytes: ...

    def sendall(self, data: bytes, /) -> object: ...

    def close(self) -> None: ...


class PortClosed(InfraError):
    """The other end is gone: for a guest, that its QEMU has ended."""


class Port:
    """One connected port."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    def receive(self, timeout: float) -> dict[str, Any] | None:
        """The next message, or None if there is none within ``timeout`` seconds. Raises PortClosed."""
        deadline = time.monotonic() + timeout
        while True:
            end = self._buffer.find(b"\n")
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                return _decode(line)
            if len(self._buffer) > MAX_LINE:
                self._buffer.clear()
                return {"event": "garbled", "text": f"a line of more than {MAX_LINE} bytes"}
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            try:
                self._stream.settimeout(left)  # and no select(): a channel's descriptor is ready for stderr too
                data = self._stream.recv(1 << 16)
            except TimeoutError:
                return None
            except OSError as error:
                raise PortClosed(f"the port to the guest broke: {error.strerror or error}") from error
            if not data:
                raise PortClosed("the port to the guest was closed")
            self._buffer += data

    def send(self, message: dict[str, Any], payload: bytes = b"", timeout: float = 60.0) -> None:
        """Send one message, with raw bytes behind it if given. Raises PortClosed, also when nobody reads."""
        self._stream.settimeout(timeout)
        try:
            self._stream.sendall(json.dumps(message).encode() + b"\n" + payload)
        except TimeoutError as error:
            raise PortClosed(f"the guest did not read from the port for {timeout:.0f} s") from error
        except OSError as error:
            raise PortClosed(f"the port to the guest broke: {error.strerror or error}") from error
        finally:
            self._stream.settimeout(None)

    def close(self) -> None:
        self._stream.close()


def _decode(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if isinstance(message, dict):
        return message
    return {"event": "garbled", "text": line[:200].decode(errors="replace")}
