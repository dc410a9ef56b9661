# SPDX-License-Identifier: GPL-2.0-only
"""Make the driver's allocations fail, one at a time, and learn which call asked for the memory.

Sources: lib/fault-inject.c, mm/failslab.c, mm/fail_page_alloc.c; Documentation/fault-injection/fault-injection.rst.
/proc/thread-self/fail-nth ignores probability but not the stack filter, and counts slab and page allocations together:
only those below a frame of the module count. Needs root, debugfs and CONFIG_FAULT_INJECTION_STACKTRACE_FILTER.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.guest.kmsg import Reader

KINDS = ("failslab", "fail_page_alloc")
DEPTH = 32
"""Frames that the filter looks at: MAX_STACK_TRACE_DEPTH."""
SILENT = "silent"
"""The site of an allocation with __GFP_NOWARN: the kernel prints no stack for it."""
_SETTINGS = {
    "probability": "0",
    "times": "-1",
    "verbose": "2",
    "verbose_ratelimit_interval_ms": "0",
    "stacktrace-depth": str(DEPTH),
    "ignore-gfp-wait": "N",
    "ignore-gfp-highmem": "N",
    "min-order": "0",
}
_FRAME = re.compile(r"^ ([\w.]+)\+(0x[0-9a-f]+)/0x[0-9a-f]+(?: \[(\w+)\])?")
EACH = 64
"""So many allocations fail each; behind them the steps grow, since populating a chunk makes tens of thousands."""
_GROWTH = 1.5
_NEVER = 1 << 30
"""No call makes so many allocations."""


@dataclass(frozen=True)
class Hit:
    """The ``n``-th allocation failed, at ``site``: the driver's innermost frame and what it called."""

    n: int
    site: str


def place(site: str) -> str:
    """A site without what differs from build to build: offset, and the suffix of a clone."""
    return re.sub(r"(\.\w+)*\+0x[0-9a-f]+ ", " ", site)


def next_step(n: int, each: int = EACH) -> int:
    """Which allocation is to fail after the ``n``-th, when the first ``each`` fail one by one."""
    return n + 1 if n < each else int(n * _GROWTH)


def site_of(lines: list[str], module: str = "amdxdna") -> str:
    """The call site in what the kernel printed when it failed an allocation: "function+offset > callee".

    Frames that the unwinder is not sure of ("? ") do not count.
    """
    callee = ""
    for line in lines:
        frame = _FRAME.match(line)
        if frame is None:
            continue
        if frame[3] == module:
            return f"{frame[1]}+{frame[2]} > {callee}"
        callee = frame[1]
    return SILENT


def functions(kallsyms: str, module: str = "amdxdna") -> dict[str, tuple[int, int]]:
    """Where each function of a module (or, "", of the kernel itself) begins and where the next one does, from
    /proc/kallsyms."""
    owner = [f"[{module}]"] if module else []
    found = []
    for line in kallsyms.splitlines():
        fields = line.split()
        if fields[3:] == owner and fields[1] in "tT":
            found.append((int(fields[0], 16), fields[2]))
    found.sort()
    return {name: (start, after) for (start, name), (after, _) in itertools.pairwise(found)}


class Faults:
    """Fault injection set up for the driver's own calls.

    ``spare``: a function of the driver below which nothing fails; ``only``: one, of the driver or of the kernel, below
    which alone something does. Skips the test on a kernel that cannot do it.
    """

    def __init__(self, spare: str = "", only: str = "", debugfs: Path = Path("/sys/kernel/debug")) -> None:
        if not any((debugfs / kind).exists() for kind in KINDS):
            # A kernel as shipped. Ours have it: what their configuration was asked for is checked when they are built.
            pytest.skip("this kernel cannot let allocations fail: not asked")
        kallsyms = Path("/proc/kallsyms").read_text()
        symbols = functions(kallsyms)
        if not symbols:
            raise OSError("no symbol of the driver in /proc/kallsyms")
        reject = symbols[spare] if spare else (0, 0)
        text = (min(start for start, _ in symbols.values()), max(end for _, end in symbols.values()))
        if only:
            text = symbols[only] if only in symbols else functions(kallsyms, "")[only]
        for kind in KINDS:
            for name, value in _SETTINGS.items():
                path = debugfs / kind / name
                if path.exists():
                    path.write_text(value)
            names = ("require-start", "require-end", "reject-start", "reject-end")
            for name, address in zip(names, (*text, *reject), strict=True):
                (debugfs / kind / name).write_text(hex(address))
        self._debugfs = debugfs
        self._nth = os.open("/proc/thread-self/fail-nth", os.O_RDWR | os.O_CLOEXEC)
        self._kmsg = Reader()

    def close(self) -> None:
        """Nothing fails any more in this thread."""
        os.pwrite(self._nth, b"0", 0)
        os.close(self._nth)
        self._kmsg.close()

    def fail(self, n: int, act: Callable[[], None]) -> tuple[Hit | None, OSError | None]:
        """Call ``act`` while its ``n``-th allocation fails: what was hit (None: it makes fewer), and its error."""
        self._kmsg.read()
        error = None
        os.pwrite(self._nth, str(n).encode(), 0)
        try:
            act()
        except OSError as caught:
            error = caught
        finally:
            left = int(os.pread(self._nth, 16, 0))
            os.pwrite(self._nth, b"0", 0)
        if left:
            return None, error
        records, _ = self._kmsg.read()
        return Hit(n, site_of([record.text for record in records])), error

    @contextmanager
    def always(self) -> Iterator[None]:
        """In the block all of these allocations fail, whoever makes them: a worker of the kernel, too."""
        self._probability(100)
        try:
            yield
        finally:
            self._probability(0)

    def _probability(self, percent: int) -> None:
        for kind in KINDS:
            (self._debugfs / kind / "probability").write_text(str(percent))

    def count(self, act: Callable[[], None]) -> int:
        """How many allocations ``act`` makes; none fails. Raises OSError as ``act`` does."""
        os.pwrite(self._nth, str(_NEVER).encode(), 0)
        try:
            act()
        finally:
            left = int(os.pread(self._nth, 16, 0))
            os.pwrite(self._nth, b"0", 0)
        return _NEVER - left

    def steps(self, each: int = EACH) -> Iterator[int]:
        """The allocations to fail, in order, without end."""
        n = 1
        while True:
            yield n
            n = next_step(n, each)
