# SPDX-License-Identifier: GPL-2.0-only
"""Kernel source trees."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """An unpacked kernel source as somebody shipped it; never written to.

    ``spec`` is what the user wrote (``debian:7.3``); ``origin`` says what that came to (package and version, commit,
    file hash); ``version`` is the Makefile's (``7.3.4``); ``key`` is a hash of what the content came from. ``shipped``:
    it is no source, but a kernel that its distribution has built (harness/host/shipped.py).
    """

    spec: str
    origin: str
    version: str
    key: str
    path: Path
    shipped: bool = False


@dataclass(frozen=True)
class Tree:
    """A source with patches applied.

    ``touched`` are the paths, relative to the tree, that differ from the source: what an incremental build must
    look at again. A tree without patches is its source. ``path`` has every file of a tree that is ``whole``; else only
    those that were patched, and the source has the rest: a kernel has 96 000 files, a patch changes a few.
    """

    key: str
    path: Path
    source: Source
    touched: frozenset[str] = frozenset()
    whole: bool = True

    def file(self, name: str) -> Path:
        """Where a file of the tree is, if it has it."""
        return (self.path if self.whole or name in self.touched else self.source.path) / name
