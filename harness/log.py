# SPDX-License-Identifier: GPL-2.0-only
"""Steps and progress, on standard error: a live line on a terminal, plain lines elsewhere.

Text that comes from outside (subjects, console bytes) goes through :func:`printable` first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

from rich.console import Console
from rich.text import Text


class Loudness(Enum):
    """What is said of the steps on the way. QUIET: warnings and errors only. VERBOSE: each program that is run, too."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2


_console = Console(stderr=True, highlight=False, soft_wrap=True)


class _Steps(threading.local):
    """Titles of the steps that are under way in this thread, outermost first."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.silent = False


_running = _Steps()


class _How:
    loudness = Loudness.NORMAL


def set_loudness(loudness: Loudness) -> None:
    """How loud the whole program is from now on."""
    _How.loudness = loudness


def printable(text: str) -> str:
    """``text`` with every control, bidi and surrogate character made visible, so that it cannot drive a
    terminal. Newlines and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def say(text: str, style: str = "") -> None:
    """One line of information; what has a style, people must not miss."""
    if _running.silent or (_How.loudness is Loudness.QUIET and not style):
        return
    _console.print(Text("  " * len(_running.titles) + printable(text), style=style))


def detail(text: str) -> None:
    """One line for those who want to know exactly."""
    if _How.loudness is Loudness.VERBOSE:
        say(text, style="dim")


def warn(text: str) -> None:
    """One line that a person should not miss."""
    say(f"warning: {text}", style="yellow")


@contextmanager
def silence() -> Iterator[None]:
    """This thread says nothing meanwhile: it does many small things of which only the sum matters."""
    before, _running.silent = _running.silent, True
    try:
        yield
    finally:
        _running.silent = before


class Step:
    """A running step; ``update`` tells how far it is."""

    def __init__(self, title: str) -> None:
        self.title = title
        live = (
            _console.is_terminal
            and _How.loudness is not Loudness.QUIET
            and threading.current_thread() is threading.main_thread()
        )
        self._status = _console.status(Text(printable(title))) if live else None
        self._last = time.monotonic()

    def update(self, text: str) -> None:
        """Show progress: at once on a terminal, as a line at most every 15 s elsewhere."""
        if self._status is not None:
            self._status.update(Text(printable(f"{self.title}: {text}")))
        elif time.monotonic() - self._last > 15:
            self._last = time.monotonic()
            say(f"{self.title}: {text}")


@contextmanager
def step(title: str) -> Iterator[Step]:
    """Announce a step, time it, and say how it ended. Steps may nest; only the outermost of the main thread is
    animated."""
    running = Step(title)
    started = time.monotonic()
    animated = running._status if not _running.titles else None
    if animated is not None:
        animated.start()
    else:
        say(title)
    _running.titles.append(title)
    outcome = "failed"
    try:
        yield running
        outcome = "done"
    finally:
        _running.titles.pop()
        if animated is not None:
            animated.stop()
        say(
            f"{title}: {outcome}, {time.monotonic() - started:.1f} s",
            style="" if outcome == "done" else "red",
        )
