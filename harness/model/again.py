# SPDX-License-Identifier: GPL-2.0-only
"""The words that ask one test again: the only place that makes them. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

_TEST_WORD = re.compile(r"[\w:+\-.\[\]]+")


def repro(run: Path, test: str, lane: str = "head") -> str:
    """For whoever has the run's folder: the same kernel, driver, NPU and start of the guest, that test only."""
    other = [] if lane == "head" else ["--lane", lane]
    return shlex.join(["xdna-harness", "repro", str(run), test, *other])


def anywhere(command: Sequence[str], test: str) -> str:
    """For whoever has not: the run's own words, narrowed to the test. A stage takes the whole run."""
    return shlex.join([*command, *(["-k", expression(test)] if "::" in test else [])])


def expression(test: str) -> str:
    """A test's name for pytest -k: without its parameters where these hold what -k does not take."""
    name = test.rpartition("::")[2] if "[" not in test else test[test[: test.index("[")].rindex("::") + 2 :]
    return name if _TEST_WORD.fullmatch(name) else name.partition("[")[0]


def matching(part: str, ids: Sequence[str]) -> list[str]:
    """The ids that ``part`` may mean: the id itself, else those of that name, else those that contain it."""
    for fits in (
        lambda test: test == part,
        lambda test: test.rpartition("::")[2] == part,
        lambda test: part in test,
    ):
        found = [test for test in ids if fits(test)]
        if found:
            return found
    return []
