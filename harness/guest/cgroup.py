# SPDX-License-Identifier: GPL-2.0-only
"""A memory control group that is charged for one system call at a time.

A process that lived in a full group would be killed at its next page fault. So it enters the group for the
call and leaves it at once; what was charged stays where it was charged (Documentation/admin-guide/cgroup-v2.rst).
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from harness.drm import memory

ROOT = Path("/sys/fs/cgroup")
_MYSELF = b"0"
_FAILING = partial(memory.try_mmap, 0, memory.PAGE, memory.PROT_RW, memory.MAP_SHARED, -1, 0)


class Cgroup:
    """One group."""

    def __init__(self, path: Path) -> None:
        self._inside = os.open(path / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        self._outside = os.open(path.parent / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)

    def join(self) -> None:
        """This process lives in the group from now on, and is killed when the group is full and it wants a page."""
        os.write(self._inside, _MYSELF)

    def charge(self, call: Callable[[], int]) -> int:
        """The result of ``call``, made inside the group: an address or a negative errno, no exception.

        A failing call is rehearsed first: after a fork every page that Python writes for the first time is
        copied, which must not happen while the group is full.
        """
        gc.disable()
        try:
            self._within(_FAILING)
            return self._within(call)
        finally:
            gc.enable()

    def _within(self, call: Callable[[], int]) -> int:
        os.write(self._inside, _MYSELF)
        result = call()
        os.write(self._outside, _MYSELF)
        return result

    def close(self) -> None:
        os.close(self._inside)
        os.close(self._outside)


@contextmanager
def memory_group(name: str, limit: int) -> Iterator[Cgroup]:
    """A new group with ``limit`` bytes of memory, removed afterwards."""
    path = ROOT / name
    path.mkdir()
    group = Cgroup(path)
    try:
        (path / "memory.max").write_text(str(limit))
        yield group
    finally:
        group.close()
        _remove(path)


def _remove(path: Path) -> None:
    """A process that has just ended may still count for a moment."""
    for _ in range(100):
        try:
            path.rmdir()
            return
        except OSError:
            time.sleep(0.02)
    path.rmdir()
