# SPDX-License-Identifier: GPL-2.0-only
"""A test's soft time limit: a signal that fails the test where it stands, with every thread's stack.

A system call that cannot be interrupted is beyond it; the host's hard limit ends that.
"""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

_RETRY_SECONDS = 0.1


@contextmanager
def limited(seconds: float, busy: Callable[[], bool]) -> Iterator[None]:
    """Fail the test when the block takes longer. While ``busy`` (a line to the host is under way) it waits.

    The signal comes again every ``seconds``, so that a stuck clean-up ends too.
    """

    def expire(number: int, frame: FrameType | None) -> None:
        if busy():
            signal.setitimer(signal.ITIMER_REAL, _RETRY_SECONDS, seconds)
            return
        pytest.fail(f"not finished after {seconds:g} s\n{stacks()}", pytrace=False)

    previous = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def stacks() -> str:
    """The Python stack of every thread."""
    fd = os.memfd_create("stacks")
    with os.fdopen(fd, "w+") as stream:
        faulthandler.dump_traceback(stream)
        stream.seek(0)
        return stream.read()
