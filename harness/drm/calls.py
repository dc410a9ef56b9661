# SPDX-License-Identifier: GPL-2.0-only
"""How many system calls went to the driver through this package, by name: ioctls by their structure, mmap, munmap.

A plain sum: threads that call at the same time may lose a count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

MADE: Counter[str] = Counter()
"""Since the process began."""


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """The calls of the block; filled in when it ends, however it does."""
    calls: Counter[str] = Counter()
    before = Counter(MADE)
    try:
        yield calls
    finally:
        calls.update(MADE - before)
