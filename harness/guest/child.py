# SPDX-License-Identifier: GPL-2.0-only
"""Run a part of a test in a process of its own: for what a process may do only once, such as dying."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Sequence


def in_child(body: Callable[[], None]) -> None:
    """Run ``body`` in a forked child; an AssertionError says what went wrong there, its first line first.

    The child ends without clean-up of Python's: what ``body`` leaves open, the kernel closes.
    """
    in_children([body])


def in_children(bodies: Sequence[Callable[[], None]]) -> None:
    """Run each in a child of its own, all at once; what went wrong in the first of them that has something to say."""
    children = [_start(body) for body in bodies]
    said: list[str] = []
    try:
        while children:
            said.append(_end(*children[0]))
            children.pop(0)
    except BaseException:
        for child, _ in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        raise
    for text in filter(None, said):
        raise AssertionError(text)


def _start(body: Callable[[], None]) -> tuple[int, int]:
    """The child, and where it says what went wrong."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os._exit(_run(body, writer))
    os.close(writer)
    return child, reader


def _end(child: int, reader: int) -> str:
    with os.fdopen(reader, "rb") as stream:
        text = stream.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return f"the child was killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return text


def _run(body: Callable[[], None], writer: int) -> int:
    try:
        body()
    except BaseException as error:
        message = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
        os.write(writer, f"{message}\n{traceback.format_exc()}".encode(errors="replace"))
    return 0
