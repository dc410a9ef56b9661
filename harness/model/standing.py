# SPDX-License-Identifier: GPL-2.0-only
"""Where a series stands: who signed and reviewed it, is there a newer revision, has the tree at hand got it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Place(StrEnum):
    """Whether the tree at hand has a patch."""

    IN = "in the tree"
    OUT = "not in the tree"
    UNKNOWN = "cannot be told"


@dataclass(frozen=True)
class Landed:
    """One patch, by its number, and how it is known where it is."""

    number: int
    place: Place
    why: str


@dataclass(frozen=True)
class Standing:
    """``attestation`` is b4's own answer, empty when it checked nothing. ``newer``: the latest revision on the list, if
    there is one. ``tree`` is what the patches were looked for in, as it was shipped."""

    attestation: str
    trailers: tuple[str, ...]
    newer: int | None
    tree: str
    patches: tuple[Landed, ...] = ()

    @property
    def merged(self) -> Place:
        """All of the series in one word."""
        places = {patch.place for patch in self.patches}
        return places.pop() if len(places) == 1 else Place.UNKNOWN


def place(reverse: bool, forward: bool, commit: str, known: str) -> tuple[Place, str]:
    """``reverse``, ``forward``: whether the patch can be taken out of, put on the tree as it is. ``commit``: one of the
    tree's history with its patch-id. ``known``: what the project knows about the series.

    What can be taken out is in, what can be put on is not, and both can be true of a patch that only adds lines. A
    later change of the same lines makes neither true, so the tree alone does not always tell.
    """
    if commit:
        return Place.IN, f"commit {commit} has its patch-id"
    if reverse and not forward:
        return Place.IN, "it can be taken out again"
    if forward and not reverse:
        return Place.OUT, "it applies"
    if known:
        return Place.IN, known
    if reverse and forward:
        return Place.UNKNOWN, "it applies, and can be taken out, too"
    return Place.UNKNOWN, "it neither applies nor can be taken out: other lines around it have changed"
