# SPDX-License-Identifier: GPL-2.0-only
"""kmemleak: memory that nobody points to any more, on kernels that look for it (mm/kmemleak.c).

It reports what is older than five seconds, and looks through all of memory: once for a group of tests, not for each.
"""

from __future__ import annotations

import re
import time

from harness.guest.sysfs import order

PATH = "/sys/kernel/debug/kmemleak"
TIMERS = "/proc/timer_list"
AGE_SECONDS = 5.5
"""MSECS_MIN_AGE is 5000."""
MOST_CHARACTERS = 200_000
_JIFFIES = re.compile(r"^jiffies: (\d+)$", re.MULTILINE)


def working(path: str = PATH) -> bool:
    """Whether it is on. Raises FileNotFoundError where this kernel has none; one that has ended itself takes no
    orders."""
    try:
        order(path, "scan=off")  # the thread that scans by itself, which we do not want
    except FileNotFoundError:
        raise
    except OSError:
        return False
    return True


def now(path: str = TIMERS) -> int:
    """The kernel's clock in jiffies, by which kmemleak dates what was allocated; 0 where it is not shown."""
    try:
        with open(path) as stream:
            found = _JIFFIES.search(stream.read())
    except OSError:
        return 0
    return int(found[1]) if found else 0


def unreferenced(path: str = PATH) -> str:
    """All that is lost, since the boot, as the kernel describes it; empty if nothing is. Takes ten seconds and more.

    It looks twice: what it sees for the first time could still be in use, for all it knows.
    """
    started = time.monotonic()
    order(path, "scan")
    time.sleep(max(0.0, AGE_SECONDS - (time.monotonic() - started)))
    order(path, "scan")
    with open(path, errors="replace") as stream:
        return stream.read(MOST_CHARACTERS)
