# SPDX-License-Identifier: GPL-2.0-only
"""Run a part of a test in a process of its own: for what a process may do only once, such as dying."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable


def in_child(body: Callable[[], None]) -> None:
    """Run ``body`` in a forked child; an AssertionError says what went wrong there, its first line first.

    The child ends without clean-up of Python's: what ``body`` leaves open, the kernel closes.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os._exit(_run(body, writer))
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as stream:
            text = stream.read().decode(errors="replace")
        _, status = os.waitpid(child, 0)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    if os.WIFSIGNALED(status):
        raise AssertionError(f"the child was killed by {signal.Signals(os.WTERMSIG(status)).name}")
    if text:
        raise AssertionError(text)


def _run(body: Callable[[], None], writer: int) -> int:
    try:
        body()
    except BaseException as error:
        message = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
        os.write(writer, f"{message}\n{traceback.format_exc()}".encode(errors="replace"))
    return 0
