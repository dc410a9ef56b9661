# SPDX-License-Identifier: GPL-2.0-only
"""Where the project's folders are that hold data: jobs, patches, vm-images, tests/target."""

from __future__ import annotations

from pathlib import Path

from harness.errors import UsageError

PACKAGE = Path(__file__).resolve().parents[1]


def data_folder(name: str) -> Path:
    """The project's folder ``name``: ``vm-images``, ``tests/target``; ``harness`` is the package itself.

    In a repository it stands beside the package; a wheel carries it inside, below ``harness/_data``.
    """
    if name == PACKAGE.name:
        return PACKAGE
    for root in (PACKAGE.parent, PACKAGE / "_data"):
        if (root / "vm-images").is_dir() and (root / name).is_dir():
            return root / name
    raise UsageError(f"the folder {name} is not part of this installation", hint="run from a clone of the repository")
