# SPDX-License-Identifier: GPL-2.0-only
"""Which lines of the driver each test runs: where to begin when something in a line may be wrong. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.model.edit import DoesNotFit, Edits

Lines = Mapping[str, frozenset[int]]
"""Numbers of lines, from 1, by the file's path in the kernel's tree."""

OVERHEAD = 0.25
"""Seconds that a test costs beside its own: counters, the way to the host and back."""


@dataclass(frozen=True)
class Footprints:
    """``code``: the lines that can run; ``tests``: those that each test does run."""

    code: Lines = field(default_factory=dict)
    tests: Mapping[str, Lines] = field(default_factory=dict)

    def edited(self, edits: Edits, texts: Mapping[str, str]) -> Lines:
        """The lines with code that an edit replaces; where it replaces none, the nearest one before it in the function,
        else all of the function. ``texts``: the source by path."""
        found: dict[str, frozenset[int]] = {}
        for edit in edits.edits:
            try:
                function, replaced = edit.lines(texts[edit.file])
            except DoesNotFit:  # an edit of what another edit left
                continue
            code = self.code.get(edit.file, frozenset())
            before = max((n for n in code if function.start <= n < replaced.start), default=0)
            lines = code & set(replaced) or ({before} if before else code & set(function))
            found[edit.file] = found.get(edit.file, frozenset()) | lines
        return found

    def hits(self, lines: Lines) -> dict[str, int]:
        """How many of these lines each test runs; tests that run none are left out."""
        counts = {
            test: sum(len(ran.get(file, frozenset()) & wanted) for file, wanted in lines.items())
            for test, ran in self.tests.items()
        }
        return {test: count for test, count in counts.items() if count}


def likeliest(
    tests: Iterable[str], hits: Mapping[str, int], seconds: Mapping[str, float], proven: Mapping[str, int]
) -> list[str]:
    """The tests in the order in which they are worth asking: those that run most of the lines first, the others last;
    among equals those that cost least for each bug that they have ``proven`` to see, and one."""

    def cost(test: str) -> float:
        return (seconds.get(test, 0.0) + OVERHEAD) / (1 + proven.get(test, 0))

    return sorted(tests, key=lambda test: (-hits.get(test, 0), cost(test), test))


def next_round(tests: Sequence[str], seconds: Mapping[str, float], guests: int, most: float) -> list[tuple[str, ...]]:
    """The first of the tests, in a group for each guest that takes about ``most`` seconds."""
    groups: list[list[str]] = [[] for _ in range(guests)]
    taken = [0.0] * guests
    for test in tests:
        place = taken.index(min(taken))
        if taken[place] >= most:
            break
        groups[place].append(test)
        taken[place] += seconds.get(test, 0.0) + OVERHEAD
    return [tuple(group) for group in groups if group]
