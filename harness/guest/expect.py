# SPDX-License-Identifier: GPL-2.0-only
"""What a test expects of a system call, as assertions that say it in one line.

An OSError that nobody expected is turned into an AssertionError with its errno's name: the suite runs on
drivers without the series too, and its verdict there must be a test's own, not an accident.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.drm.device import Device

PATIENCE_SECONDS = 20.0 if os.path.exists("/proc/lockdep_stats") else 5.0
"""What a kernel may take for what it does by and by; one that watches its locks is slow under emulation."""


def name_of(number: int | None) -> str:
    """EAGAIN for 11, success for 0, and so on."""
    if number == 0:
        return "success"
    return errno.errorcode.get(number or 0, f"errno {number}")


@contextmanager
def works(what: str) -> Iterator[None]:
    """The block must not raise OSError."""
    try:
        yield
    except OSError as error:
        raise AssertionError(f"{what}: expected success, got {name_of(error.errno)}") from error


@contextmanager
def refused(number: int, what: str) -> Iterator[None]:
    """The block must raise OSError with this errno."""
    try:
        yield
    except OSError as error:
        if error.errno != number:
            got = name_of(error.errno)
            raise AssertionError(f"{what}: expected {name_of(number)}, got {got}") from error
        return
    raise AssertionError(f"{what}: expected {name_of(number)}, got success")


def falls_asleep(device: Device) -> None:
    """The device must suspend now that nobody uses it: a reference that somebody kept prevents it."""
    try:
        device.suspend()
    except TimeoutError as error:
        raise AssertionError(f"the idle device does not suspend: {error}") from error


def eventually(condition: Callable[[], bool], what: str, timeout: float = PATIENCE_SECONDS) -> None:
    """``condition`` must become true within ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout:g} s")
        time.sleep(0.01)
