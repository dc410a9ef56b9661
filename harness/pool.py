# SPDX-License-Identifier: GPL-2.0-only
"""Cells side by side: one thread per guest, longest first; what one finds does not depend on its neighbours."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from harness.host.memory import free_megabytes
from harness.host.vm import MEMORY_MB
from harness.lane import Broken
from harness.log import step
from harness.model.kernel import Profile
from harness.plan import Cell, longest_first, workers

Run = Callable[[Cell], None]


def room(asked: int, profile: Profile) -> int:
    """How many guests may run side by side here and now."""
    return workers(asked, os.cpu_count() or 1, free_megabytes(), MEMORY_MB[profile])


def run_cells(
    cells: Sequence[Cell],
    run: Run,
    stop: Callable[[], None],
    asked: int,
    profile: Profile,
    seconds: Mapping[str, float],
) -> set[str]:
    """Run every cell: the lanes that broke, whose other cells were then left out.

    ``stop`` ends all guests; it is called when this thread is interrupted or a cell fails by our own fault, which is
    raised once all are at rest.
    """
    ordered = longest_first(cells, seconds)
    count = max(1, min(room(asked, profile), len(ordered)))
    broken: set[str] = set()
    lock = threading.Lock()

    def guarded(cell: Cell) -> None:
        if cell.lane in broken:
            return
        try:
            run(cell)
        except Broken:
            with lock:
                broken.add(cell.lane)

    if count == 1:
        for cell in ordered:
            guarded(cell)
        return broken
    with step(f"{len(ordered)} group(s) of tests, {count} guests at a time") as progress:
        with ThreadPoolExecutor(count, thread_name_prefix="guest") as pool:
            left: set[Future[None]] = {pool.submit(guarded, cell) for cell in ordered}
            try:
                while left:
                    done, left = wait(left, return_when=FIRST_COMPLETED)
                    for future in done:
                        future.result()
                    progress.update(f"{len(ordered) - len(left)} of {len(ordered)}")
            except BaseException:
                for future in left:
                    future.cancel()
                stop()
                raise
    return broken
