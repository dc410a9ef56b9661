# SPDX-License-Identifier: GPL-2.0-only
"""This process as a holder of machines, and whether another one of this machine still lives."""

from __future__ import annotations

import getpass
import os
import socket
from pathlib import Path

from harness.model.lease import Holder

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def this_process(run: str) -> Holder:
    """Who we are, doing ``run``."""
    pid = os.getpid()
    try:
        who = getpass.getuser()
    except (KeyError, OSError):  # a user number without a name
        who = str(os.getuid())
    return Holder(socket.gethostname(), pid, who, run, _place(), _started(pid) or 0)


def is_gone(holder: Holder) -> bool:
    """Whether it certainly runs no more; False also when nobody can tell from here, as of another user's process where
    /proc hides these (hidepid)."""
    if not holder.place or holder.place != _place() or holder.pid < 1:
        return False
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # it runs, and is another user's
        pass
    started = _started(holder.pid)
    return started is not None and bool(holder.started) and started != holder.started


def _place() -> str:
    """This boot of this kernel, and the namespace in which process numbers count."""
    try:
        return f"{_BOOT_ID.read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """When a process began, in ticks since boot (proc(5), stat: field 22); 0 when its parent only has to take note of
    its end, None when that cannot be read."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return 0 if fields[0] in "ZX" else int(fields[19])
