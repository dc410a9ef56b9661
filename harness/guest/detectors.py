# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own detectors: some speak once and are silent from then on.

What can be armed again is, before each test. What cannot is told to the host with each test: a test that ran while
lockdep was off says less than it seems to.
"""

from __future__ import annotations

import re
from contextlib import suppress

from harness.guest import kmemleak
from harness.guest.sysfs import order

ARM_AGAIN = {
    "sys/kernel/debug/clear_warn_once": "1",  # WARN_ONCE and its like, kernel/panic.c
    "sys/kernel/debug/dma-api/all_errors": "1",  # kernel/dma/debug.c shows one error only, else
    "proc/sys/kernel/hung_task_warnings": "-1",  # kernel/hung_task.c names ten tasks only, else
}
_LOCKDEP = re.compile(r"^ debug_locks: +(\d)", re.MULTILINE)


def arm_again(root: str = "/") -> None:
    """Let detectors that have spoken speak again. What this kernel lacks is left alone."""
    for path, value in ARM_AGAIN.items():
        with suppress(OSError):
            order(root + path, value)


def armed(root: str = "/") -> dict[str, bool]:
    """Whether each detector that cannot be armed again is still on; one that this kernel lacks is not in it.

    lockdep ends with its first report, and with each oops or KASAN report (kernel/locking/lockdep.c, kernel/panic.c);
    kmemleak when it runs out of memory (mm/kmemleak.c).
    """
    found = {}
    with suppress(OSError):
        with open(f"{root}proc/lockdep_stats") as stream:
            locks = _LOCKDEP.search(stream.read())
        if locks:
            found["lockdep"] = locks[1] == "1"
    with suppress(FileNotFoundError):
        found["kmemleak"] = kmemleak.working(root + kmemleak.PATH.lstrip("/"))
    return found
