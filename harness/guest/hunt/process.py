# SPDX-License-Identifier: GPL-2.0-only
"""Processes of a walk: forked, and never waited for without a limit."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from harness.guest.hunt.oracle import Broken

READY_SECONDS = 20.0
END_SECONDS = 40.0
"""A process that is killed while its chunks are mapped ends when they are."""


@dataclass(frozen=True)
class Child:
    """``ready``: a pipe that is closed when its work is done."""

    pid: int
    ready: int


def forked(body: Callable[[], None], stay: bool = False) -> Child:
    """Run ``body`` in a child, whatever becomes of it; with ``stay`` the child then waits to be killed."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return Child(pid, reader)
    try:
        with suppress(OSError):
            body()
        os.close(writer)
        while stay:
            signal.pause()
    finally:
        os._exit(0)


def exits(child: Child, kill: bool = False) -> None:
    """Wait for the child to end; first kill it if asked, when its work is done. Raises Broken when it does not."""
    ready, _, _ = select.select([child.ready], [], [], READY_SECONDS)
    os.close(child.ready)
    if kill or not ready:
        os.kill(child.pid, signal.SIGKILL)
    deadline = time.monotonic() + END_SECONDS
    while os.waitpid(child.pid, os.WNOHANG)[0] == 0:
        if time.monotonic() > deadline:
            raise Broken("child", f"a process does not end within {END_SECONDS:.0f} s")
        time.sleep(0.005)
    if not ready and not kill:
        raise Broken("child", f"a process was not done within {READY_SECONDS:.0f} s")
