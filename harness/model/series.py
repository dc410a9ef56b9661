# SPDX-License-Identifier: GPL-2.0-only
"""A patch series as a mailing list carries it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Patch:
    """One patch of a series.

    ``mail`` is the whole mail (or bare diff) as ``git am`` takes it; ``patch_id`` is git's stable patch-id, the
    identity of the change whatever the context; ``files`` are the paths it touches, relative to the tree.
    """

    subject: str
    author: str
    message_id: str | None
    patch_id: str
    files: tuple[str, ...]
    mail: bytes


@dataclass(frozen=True)
class Series:
    """A series, in the order in which it applies.

    ``spec`` is what the user wrote. ``attestation`` is b4's own words, empty when nothing was checked. ``notes`` are
    for the report: what was skipped and why ("no Message-ID: taken by git mailinfo, b4 skipped").
    """

    spec: str
    title: str
    patches: tuple[Patch, ...]
    revision: int | None = None
    message_id: str | None = None
    base_commit: str | None = None
    change_id: str | None = None
    trailers: tuple[str, ...] = ()
    attestation: str = ""
    newer_revision: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def patch_ids(self) -> tuple[str, ...]:
        return tuple(patch.patch_id for patch in self.patches)
