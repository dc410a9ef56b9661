# SPDX-License-Identifier: GPL-2.0-only
"""Do a script: each step once, in order; some while an allocation fails, some at the same time as the next."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from harness.guest.expect import name_of
from harness.guest.hunt import oracle
from harness.guest.hunt.oracle import Broken
from harness.guest.hunt.steps import STEPS
from harness.guest.hunt.world import NotNow, Numbers, World

T = TypeVar("T")
JOIN_SECONDS = 60.0
ALONE = {"fork", "victim", "firmware", "sleep"}
"""What is never done at the same time as something else: a fork in a process with threads is a trap of its own."""


class Failing(Protocol):
    """Fault injection (harness.guest.faults)."""

    def fail(self, n: int, act: Callable[[], None]) -> tuple[object, OSError | None]: ...


def read(text: str) -> list[Numbers]:
    """A script: JSON lines. Raises ValueError: a line that is none, or a step that nobody knows."""
    script = [json.loads(line) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for each in script:
        if not isinstance(each, dict) or each.get("do") not in STEPS:
            raise ValueError(f"no step: {each!r}; known are {', '.join(sorted(STEPS))}")
    return script


class Walk:
    """One script in one world. ``faults`` makes fault injection, at first use; ``mark`` tells where the walk is.

    ``tally``: how often each kind of step ended how ("bo EAGAIN").
    """

    def __init__(self, world: World, faults: Callable[[], Failing], mark: Callable[[str], None]) -> None:
        self.world = world
        self.tally: Counter[str] = Counter()
        self._make_faults = faults
        self._faults: Failing | None = None
        self._mark = mark

    def go(self, script: Iterable[Numbers]) -> None:
        """All steps. Raises Broken."""
        steps = list(script)
        place = 0
        while place < len(steps):
            now = steps[place : place + 2] if steps[place].get("beside") else steps[place : place + 1]
            for each in now:
                self._mark(f"walk: step {place + 1}: {json.dumps(each)}")
            started = time.monotonic()
            try:
                self._do(now)
                if (took := time.monotonic() - started) > oracle.SLOW_SECONDS:
                    raise Broken("slow", f"{took:.0f} s")
            except Broken as broken:
                broken.add_note(f"in step {place + 1}: {json.dumps(now[0])}")
                raise
            place += len(now)

    def _do(self, steps: list[Numbers]) -> None:
        if len(steps) == 2 and not self._apart(steps):
            self.world.together = True
            try:
                self._at_once(*steps)
            finally:
                self.world.together = False
            return
        for each in steps:
            self._one(each, each.get("fail", 0))

    def _apart(self, steps: list[Numbers]) -> bool:
        """Steps that are done one after the other all the same. A chunk that is created while a context learns of
        another: there 7.3 waits for ever, and lockdep says so at any time (jobs/known.toml). A file that is closed
        under another step: its mappings would stay."""
        done = {each["do"] for each in steps}
        if done & ALONE or ("chunk" in done and any(file.contexts for file in self.world.files.values())):
            return True
        return "close" in done and steps[0].get("file") == steps[1].get("file")

    def _at_once(self, first: Numbers, second: Numbers) -> None:
        """The first in a thread. Raises Broken; what both break is told once."""
        broken: list[BaseException] = []

        def body() -> None:
            try:
                start.wait(5)
                self._one(first, 0)
            except BaseException as error:
                broken.append(error)

        start = threading.Barrier(2)
        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        start.wait(5)
        try:
            self._one(second, 0)
        finally:
            thread.join(JOIN_SECONDS)
        if thread.is_alive():
            raise Broken("stuck", f"{json.dumps(first)} does not return")
        if broken:
            raise broken[0]

    def _one(self, numbers: Numbers, fail: int) -> None:
        """One step; how it ended goes into the tally."""
        do = str(numbers["do"])
        self.world.failing = self._failing(fail) if fail and not self.world.asleep_with_contexts() else None
        try:
            STEPS[do](self.world, numbers)
            self.tally[f"{do} ok"] += 1
        except NotNow:
            self.tally[f"{do} idle"] += 1
        except TimeoutError:
            self.tally[f"{do} ETIMEDOUT"] += 1
        except OSError as error:
            self.tally[f"{do} {name_of(error.errno)}"] += 1
        finally:
            self.world.failing = None

    def _failing(self, n: int) -> Callable[[Callable[[], Any]], Any]:
        faults = self._faults = self._faults or self._make_faults()

        def call(act: Callable[[], T]) -> T:
            results: list[T] = []
            _, error = faults.fail(n, lambda: results.append(act()))
            if error is not None:
                raise error
            return results[0]

        return call

    def empty(self) -> None:
        """Close every context and handle of the files that are left. Raises Broken when something is still used."""
        self.world.npu.reset()
        for file in self.world.files.values():
            oracle.emptied(file)


def measures(tally: Mapping[str, int]) -> list[tuple[str, float, str]]:
    """The tally as a test's numbers."""
    return [(name, float(count), "times") for name, count in sorted(tally.items())]
