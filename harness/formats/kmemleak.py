# SPDX-License-Identifier: GPL-2.0-only
"""What /sys/kernel/debug/kmemleak says (mm/kmemleak.c, print_unreferenced): pure text to findings.

It looks through memory once for each guest, so what it finds is some test's of that guest: asked again in smaller
groups, one is named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.formats.splat import find_splats
from harness.model.finding import Finding

_OBJECT = re.compile(r"^unreferenced object .*(?:\n .*)*", re.MULTILINE)
_BORN = re.compile(r"^ +comm .*, pid \d+, jiffies (\d+)", re.MULTILINE)
DRIVER = "[amdxdna]"
WARNING = 4
"""KERN_WARNING, at which mm/kmemleak.c logs the same."""


@dataclass(frozen=True)
class LostMemory:
    """What was lost in a guest: by the driver ``before`` the first test began, and since ``then``."""

    before: tuple[Finding, ...] = ()
    then: tuple[Finding, ...] = ()


def lost_memory(event: Mapping[str, Any]) -> LostMemory:
    """The findings in a "suite-end": ``unreferenced`` is the kernel's text, ``since`` the jiffies when tests began.

    What others lost before that is nobody's here.
    """
    objects = _OBJECT.findall(str(event.get("unreferenced", "")))
    since = int(event.get("since", 0))
    then = [text for text in objects if _born(text) >= since]
    before = [text for text in objects if _born(text) < since and DRIVER in text]
    return LostMemory(_findings(before), _findings(then))


def _born(text: str) -> int:
    found = _BORN.search(text)
    return int(found[1]) if found else 0


def _findings(objects: Sequence[str]) -> tuple[Finding, ...]:
    """As if the kernel had logged them; equal ones are one with a count."""
    lines = [f"kmemleak: {line}" for text in objects for line in text.splitlines()]
    return tuple(find_splats([{"seq": n, "level": WARNING, "text": line} for n, line in enumerate(lines)]))


def halves(tests: Sequence[str]) -> list[tuple[str, ...]]:
    """Two groups to ask again; none for a single test, which is named already."""
    middle = len(tests) // 2
    return [tuple(tests[:middle]), tuple(tests[middle:])] if middle else []


@dataclass
class Suspects:
    """Tests of one guest, one of which lost ``memory``; ``named`` are those that lost it when asked alone."""

    tests: tuple[tuple[str, int], ...]
    memory: tuple[Finding, ...]
    named: set[str] = field(default_factory=set)

    def unnamed(self) -> tuple[Finding, ...]:
        """What no test alone lost again, in words that say so."""
        among = ", ".join(test for test, _ in self.tests)
        said = f"one of these tests lost it, none of them when asked alone: {among}"
        left = (finding for finding in self.memory if finding.fingerprint not in self.named)
        return tuple(replace(finding, text=f"{said}\n{finding.text}") for finding in left)
