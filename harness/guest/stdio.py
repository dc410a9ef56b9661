# SPDX-License-Identifier: GPL-2.0-only
"""The agent behind an ssh channel, a process of a machine that lives on: ``python3 -m harness.guest.stdio HOME``.

The port is standard input and output, version 1 as in README.md; its first line is {"event":"hello","release":..}, or
{"event":"busy"} when another agent has the machine. Whatever else is printed goes to standard error.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.guest.agent import Agent
from harness.guest.kmsg import Reader
from harness.guest.port import Port, PortError

LOCK = Path("/run/xdna-harness.lock")
"""Held by the agent and the suites it forks: who finds it held must leave the driver alone."""
WARN_ONCE = Path("/sys/kernel/debug/clear_warn_once")
_PIECE = 1 << 15


class Pipe(Port):
    """A port of two descriptors. Its end is the end: nobody comes back to a closed channel."""

    def __init__(self, source: int, sink: int) -> None:
        super().__init__(source)
        self.sink = sink

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one line. Raises PortError."""
        data = memoryview(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        self.busy = True
        try:
            while data:
                data = data[os.write(self.sink, data[:_PIECE]) :]
        except OSError as error:
            raise PortError(f"the host hung up: {error.strerror}") from error
        finally:
            self.busy = False

    def _read(self, deadline: float | None) -> None:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise PortError("the host did not answer in time")
        if not select.select([self.fd], [], [], left)[0]:
            return
        piece = os.read(self.fd, _PIECE)
        if not piece:
            raise PortError("the host hung up")
        self._buffer += piece


def main(home: Path, lock: Path = LOCK) -> int:
    """Serve commands until "poweroff", which ends the agent only: 0; 1 when there is nobody to serve any more."""
    port = _take_standard_streams()
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # the suite needs none, and nobody knows what is installed
    held = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        port.send({"event": "busy"})
        return 1
    with suppress(OSError):  # not every kernel has it
        WARN_ONCE.write_text("1")
    agent = Agent(port, home, _from_now_on())
    agent.warm_up.start()
    try:
        port.send({"event": "hello", "release": os.uname().release})
        agent.live()
    except PortError as gone:
        print(gone, file=sys.stderr)
        return 1
    return 0


def _take_standard_streams() -> Pipe:
    """The port; 0, 1 and 2 are nothing, standard error and standard error from now on."""
    port = Pipe(os.dup(0), os.dup(1))
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return port


def _from_now_on() -> Reader:
    """The kernel's log without what it said before: a machine has seen more than this lane's driver."""
    reader = Reader()
    reader.read()
    return reader


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
