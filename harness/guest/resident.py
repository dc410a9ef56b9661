# SPDX-License-Identifier: GPL-2.0-only
"""The agent as a process of a machine that lives on; its keeper holds the other end of its port.

Version 1 of the port as in README.md; its first line is {"event":"hello","release":..}. Whatever else is printed goes
to HOME/agent.log.
"""

from __future__ import annotations

import os
import select
import sys
import time
from contextlib import suppress
from pathlib import Path

from harness.guest.agent import Agent
from harness.guest.kmsg import Reader
from harness.guest.port import Port, PortError

ACK_SECONDS = 900.0
"""How long an event waits for the host: a connection that was cut may take a while to come back."""
WARN_ONCE = Path("/sys/kernel/debug/clear_warn_once")
WHOLE_LOG = "whole-log"
"""This file in HOME says that this boot was made for us: all that its kernel has said is ours to tell."""
_PIECE = 1 << 15


class Kept(Port):
    """A port to the keeper. Its end is the end."""

    patience = ACK_SECONDS

    def _read(self, deadline: float | None) -> None:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise PortError("the host did not answer in time")
        if not select.select([self.fd], [], [], left)[0]:
            return
        piece = os.read(self.fd, _PIECE)
        if not piece:
            raise PortError("the keeper ended")
        self._buffer += piece


def live(fd: int, home: Path) -> int:
    """Serve commands until "poweroff", which ends the agent only: 0; 1 when there is nobody to serve any more."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # the suite needs none, and nobody knows what is installed
    with suppress(OSError):  # not every kernel has it
        WARN_ONCE.write_text("1")
    port = Kept(fd)
    agent = Agent(port, home, kernel_log(home))
    agent.warm_up.start()
    try:
        port.send({"event": "hello", "release": os.uname().release})
        agent.live()
    except (PortError, OSError) as gone:
        print(gone, file=sys.stderr)
        return 1
    return 0


def kernel_log(home: Path, log: str = "/dev/kmsg") -> Reader:
    """The kernel's log; without what it said before where the machine has seen more than this lane's driver."""
    reader = Reader(log)
    if not (home / WHOLE_LOG).exists():
        reader.read()
    return reader
