# SPDX-License-Identifier: GPL-2.0-only
"""Make edits by pattern in a tree of hard links."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.errors import UsageError
from harness.model.edit import DoesNotFit, Edits


def make(tree: Path, edits: Edits) -> frozenset[str]:
    """Make all of them, or none: the paths that were changed. UsageError: they do not fit, and are not optional."""
    try:
        after = _texts(tree, edits)
    except DoesNotFit as error:
        if edits.optional:
            return frozenset()
        raise UsageError(
            f"the edit {edits.name!r} does not fit this kernel: {error}", hint="mend its pattern, or leave it out"
        ) from error
    for name, text in after.items():
        path = tree / name
        mode = path.stat().st_mode
        path.unlink()  # a hard link to the pristine source
        path.write_text(text)
        path.chmod(mode)
    return frozenset(after)


def is_plain(folder: Path, name: str) -> bool:
    """Whether this is a file below the folder, with no link or way up in its path."""
    parts = Path(name).parts
    if not parts or parts[0] == "/" or ".." in parts:
        return False
    places = [folder.joinpath(*parts[: end + 1]) for end in range(len(parts))]
    return not any(place.is_symlink() for place in places) and places[-1].is_file()


def _texts(tree: Path, edits: Edits) -> Mapping[str, str]:
    texts: dict[str, str] = {}
    for edit in edits.edits:
        if edit.file not in texts and not is_plain(tree, edit.file):
            raise DoesNotFit(f"there is no file {edit.file}")
        texts[edit.file] = edit.applied(texts.get(edit.file) or (tree / edit.file).read_text())
    return texts
