# SPDX-License-Identifier: GPL-2.0-only
"""What is made of the answers once they are there, for a person to read: lines that were run, and lines of splats.

Neither changes an answer: what cannot be had costs a note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from harness.builds import Builds
from harness.checks import coverage
from harness.engines.lines import Locator
from harness.errors import InfraError
from harness.formats import changes, lines
from harness.host.sandbox import Sandbox
from harness.log import say, step
from harness.model.kernel import Module
from harness.plan import BASE, HEAD


def sum_coverage(
    builds: Builds, module: Module, events: Sequence[Mapping[str, Any]], note: Callable[[str], None]
) -> None:
    """Sum what the guests of the head lane counted: coverage.json, or a note that says why there is none."""
    if module.counters is None:
        note("no coverage: the driver was built with its kernel")
        return
    old = builds.trees.get(BASE)
    with step("coverage"):
        try:
            text = coverage.summed(module.counters, events, builds.trees[HEAD], old)
        except InfraError as error:
            note(f"no coverage: {error.message}")
            return
        (builds.out / coverage.FILE).write_text(text)


def keep_difference(builds: Builds) -> None:
    """What the series changes in the driver: series.diff. Nothing where there is no base."""
    if {BASE, HEAD} <= builds.trees.keys():
        old, new = (coverage.sources(builds.trees[lane].path) for lane in (BASE, HEAD))
        (builds.out / changes.FILE).write_text(changes.difference(old, new), errors="surrogateescape")


def locate(builds: Builds, sandbox: Sandbox, lane: str, module: Module, splats: Iterable[str]) -> None:
    """Find file and line of each frame of a lane's splats: <lane>/frames.json."""
    frames = dict.fromkeys(frame for text in splats for frame in lines.frames_in(text))
    if not frames or builds.trees[lane].source.shipped:
        return
    with step(f"{lane}: file and line of {len(frames)} frames"):
        tree = builds.trees[lane]
        locator = Locator(builds.store, sandbox, module, tree, builds.engine.kernel_tree(module, tree))
        places = locator.places(frames)
        for doubt in dict.fromkeys(locator.doubts):
            say(doubt)
        (builds.out / lane / lines.FILE).write_text(lines.dump(places))
