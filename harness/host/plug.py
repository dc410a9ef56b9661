# SPDX-License-Identifier: GPL-2.0-only
"""The mains plug of a QEMU: ``python -m harness.host.plug SOCKET on|off|cycle|status``; SOCKET is a monitor of its own.

It makes a QEMU behave as a PC on a switched socket (lab_host.py): a command that does not know what runs inside, that
works when the guest is hung, and whose exit status says whether it worked. Without power the guest's processors stand
still, and what was in memory is lost at the next start; its disk stays.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from harness.errors import InfraError
from harness.host.qmp import Monitor

OFF_SECONDS = 1.0
"""How long a cycle leaves it off."""


def running(monitor: Monitor) -> bool:
    status = monitor.command("query-status")
    return isinstance(status, dict) and bool(status.get("running"))


def on(monitor: Monitor) -> None:
    """A running machine stays as it is."""
    if not running(monitor):
        monitor.command("system_reset")
        monitor.command("cont")


def off(monitor: Monitor) -> None:
    monitor.command("stop")


def act(monitor: Monitor, what: str) -> str:
    """Do one of the four; returns "on" or "off", what it is then."""
    if what in ("off", "cycle"):
        off(monitor)
    if what == "cycle":
        time.sleep(OFF_SECONDS)
    if what in ("on", "cycle"):
        on(monitor)
    return "on" if running(monitor) else "off"


def main(socket: str, what: str) -> int:
    try:
        monitor = Monitor(Path(socket))
        print(act(monitor, what))
        monitor.close()
    except InfraError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[2] not in ("on", "off", "cycle", "status"):
        sys.exit(f"usage: {sys.argv[0]} SOCKET on|off|cycle|status")
    sys.exit(main(*sys.argv[1:]))
