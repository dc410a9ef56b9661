# SPDX-License-Identifier: GPL-2.0-only
"""Finding out where a series stands: in the tree at hand, as far as it can be told."""

from __future__ import annotations

from pathlib import Path

from harness.host import commits, git
from harness.knowledge import knowledge_of
from harness.model.series import Series
from harness.model.standing import Landed, Standing, place
from harness.model.tree import Source
from harness.plan import is_merged


def standing(series: Series, source: Source) -> Standing:
    """Where the series stands; ``source`` is the kernel that was asked for, as it was shipped."""
    known = knowledge_of(series)
    words = f"merged for Linux {known.merged_in}, which {source.version} comes after" if known else ""
    words = words if is_merged(known, source.version) else ""
    landed = []
    for number, patch in enumerate(series.patches, 1):
        reverse, forward = git.fits(source.path, patch, reverse=True), git.fits(source.path, patch)
        commit = _commit(source.spec, patch.files, patch.patch_id)
        landed.append(Landed(number, *place(reverse, forward, commit, words)))
    return Standing(series.attestation, series.trailers, series.newer_revision, source.origin, tuple(landed))


def _commit(spec: str, files: tuple[str, ...], patch_id: str) -> str:
    """The commit of a local repository that is this patch; empty for a source without history, or without it."""
    if not spec.startswith("git:"):
        return ""
    tree, _, ref = spec.removeprefix("git:").rpartition("#")
    top = Path(tree).expanduser()
    found = commits.with_patch_id(top, ref, files, patch_id) if top.is_dir() else None
    return found[:12] if found else ""
