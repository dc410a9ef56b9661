# SPDX-License-Identifier: GPL-2.0-only
"""Whose memory kmemleak found: pure.

It looks through memory once for each guest, so what it finds is some test's of that guest: asked again in smaller
groups, one is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.formats.kmemleak import unreferenced
from harness.model.finding import Finding

DRIVER = "[amdxdna]"


@dataclass(frozen=True)
class LostMemory:
    """What was lost in a guest: by the driver ``before`` the first test began, and since ``then``."""

    before: tuple[Finding, ...] = ()
    then: tuple[Finding, ...] = ()


def lost_memory(event: Mapping[str, Any]) -> LostMemory:
    """The findings in a "suite-end": ``unreferenced`` is the kernel's text, ``since`` the jiffies when tests began.

    What others lost before that is nobody's here.
    """
    text, since = str(event.get("unreferenced", "")), int(event.get("since", 0))
    before = [finding for finding in unreferenced(text, until=since) if DRIVER in finding.text]
    return LostMemory(tuple(before), tuple(unreferenced(text, since)))


def halves(tests: Sequence[str]) -> list[tuple[str, ...]]:
    """Two groups to ask again; none for a single test, which is named already."""
    middle = len(tests) // 2
    return [tuple(tests[:middle]), tuple(tests[middle:])] if middle else []


@dataclass
class Suspects:
    """Tests of one guest, one of which lost ``memory``; ``named``: the fingerprints that fewer of them lost, too."""

    tests: tuple[tuple[str, int], ...]
    memory: tuple[Finding, ...]
    named: set[str] = field(default_factory=set)

    def unnamed(self) -> tuple[Finding, ...]:
        """What no test alone lost again, in words that say so."""
        among = ", ".join(test for test, _ in self.tests)
        said = f"one of these tests lost it, none of them when asked alone: {among}"
        left = (finding for finding in self.memory if finding.fingerprint not in self.named)
        return tuple(replace(finding, text=f"{said}\n{finding.text}") for finding in left)
