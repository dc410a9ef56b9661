# SPDX-License-Identifier: GPL-2.0-only
"""Which system calls went to the driver through this package, by name: ioctls by their structure, mmap, munmap.

A plain sum: threads that call at the same time may lose a count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

MADE: Counter[str] = Counter()
"""Since the process began."""
MOST_ANSWERS = 2000
"""So many are kept; tests that call by the thousand say no more after that."""
ANSWERS: list[tuple[str, int]] = []
"""The latest calls with what the kernel returned, 0 for more than that: an address says nothing. Emptied by who wants
to know."""


def answered(name: str, result: int) -> None:
    """Take down an answer: a negative errno, or anything else for success."""
    if len(ANSWERS) < MOST_ANSWERS:
        ANSWERS.append((name, min(result, 0)))


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """The calls of the block; filled in when it ends, however it does."""
    calls: Counter[str] = Counter()
    before = Counter(MADE)
    try:
        yield calls
    finally:
        calls.update(MADE - before)
