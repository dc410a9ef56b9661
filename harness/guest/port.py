# SPDX-License-Identifier: GPL-2.0-only
"""The guest's end of the test port: JSON lines both ways, and events that wait for the host's answer.

The protocol is described in harness/guest/README.md. One process writes at a time: the agent, or its child.
"""

from __future__ import annotations

import errno
import json
import os
import select
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")
ACK_SECONDS = 60.0
_PIECE = 1 << 15


class PortError(Exception):
    """The host is gone, did not answer in time, or refused a question. Never the driver's fault."""


class Port:
    """JSON lines over a file descriptor: a virtio-serial port, or a socket in tests.

    ``busy`` is true while a line is under way: an interruption then would leave half a line behind. ``patience``: how
    many seconds an event waits for its ack.
    """

    patience = ACK_SECONDS

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.busy = False
        self._buffer = bytearray()

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one line."""
        data = memoryview(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        self.busy = True
        try:
            while data:
                data = data[self._again(os.write, self.fd, data[:_PIECE]) :]
        finally:
            self.busy = False

    def receive(self, timeout: float | None = None) -> dict[str, Any]:
        """The next line. ``timeout`` in seconds, None waits for ever. Raises PortError."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self.busy = True
        try:
            while (end := self._buffer.find(b"\n")) < 0:
                self._read(deadline)
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
        finally:
            self.busy = False
        message = json.loads(line)
        if not isinstance(message, dict):
            raise PortError(f"the host sent something else than an object: {line[:100]!r}")
        return message

    def receive_bytes(self, size: int, timeout: float = ACK_SECONDS) -> bytes:
        """Exactly ``size`` bytes that follow a line. Raises PortError."""
        deadline = time.monotonic() + timeout
        while len(self._buffer) < size:
            self._read(deadline)
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _read(self, deadline: float | None) -> None:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise PortError("the host did not answer in time")
        ready, _, _ = select.select([self.fd], [], [], left)
        if not ready:
            return
        piece = self._again(os.read, self.fd, _PIECE)
        if not piece:
            # A virtio port without a peer reads as its end; the peer may come back.
            time.sleep(0.002)
        self._buffer += piece

    def _again(self, call: Callable[..., T], *arguments: object) -> T:
        """The result of a call on the port, which is opened again if its driver was taken from it and came back."""
        try:
            return call(*arguments)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            reopen(self.fd)
            return call(*arguments)


def reopen(fd: int, timeout: float = 5.0) -> None:
    """Open the device file of a descriptor anew, under the same number. Raises PortError when it does not come back."""
    path = os.readlink(f"/proc/self/fd/{fd}").removesuffix(" (deleted)")
    deadline = time.monotonic() + timeout
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            raise PortError(f"{path} does not come back")
        time.sleep(0.01)
    fresh = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(fresh, fd)
    os.close(fresh)


class Link:
    """The events of one suite run: each is numbered, and waits until the host has it."""

    def __init__(self, port: Port, boot: int, attempt: int) -> None:
        self.port = port
        self.boot = boot
        self.attempt = attempt
        self.seq = 0

    def event(self, name: str, **fields: object) -> Any:
        """Send an event, wait for its ack and return the ack's value (None unless it was a question).

        Raises PortError when there is none in time, or when the ack carries an error.
        """
        self.seq += 1
        head = {"boot": self.boot, "attempt": self.attempt, "seq": self.seq, "event": name}
        self.port.send({**head, "uptime": round(uptime(), 3), **fields})
        answer = self.port.receive(self.port.patience)
        if answer.get("ack") != self.seq:
            raise PortError(f"event {self.seq} ({name}) was answered with {answer!r}")
        if "error" in answer:
            raise PortError(f"the host refused {name} {fields!r}: {answer['error']}")
        return answer.get("value")

    def ask(self, what: str, **arguments: object) -> Any:
        """A question to the host, such as "npu.log": its value."""
        return self.event("ask", what=what, args=arguments)


def uptime() -> float:
    """Seconds since the kernel booted, the clock of the kernel's messages."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
