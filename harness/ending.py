# SPDX-License-Identifier: GPL-2.0-only
"""Told to end from outside, the program ends as after Ctrl-C: it gives back what it has."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
from types import FrameType

ENDS = (signal.SIGTERM, signal.SIGHUP)
"""A service that is stopped, a limit of a CI; a terminal that goes away."""


def end_in_order() -> None:
    """From now on these are a KeyboardInterrupt, as Ctrl-C is, the first of them: while things are given back others
    change nothing, a terminal that goes away says so twice. What is ignored stays so (nohup). Programs that we start
    begin without this: exec takes handlers away."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGINT, *ENDS):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _first)


def _first(number: int, frame: FrameType | None) -> None:
    """A second Ctrl-C is a person's, and ends the giving back."""
    for each in ENDS:
        if signal.getsignal(each) is _first:
            signal.signal(each, _again)
    _again(number, frame)
    raise KeyboardInterrupt


def _again(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGHUP:
        _hush()


def _hush() -> None:
    """Nobody listens any more: what is said on the way out must not fail. A file still gets it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None and not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
