# SPDX-License-Identifier: GPL-2.0-only
"""Debian packages as plain archives: unpacked into a folder, their maintainer scripts not run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness.host import proc

UNPACK_SECONDS = 600.0
MERGED = ("bin", "sbin", "lib", "lib64")

_UNPACK = """set -o pipefail; umask 022; root=$1; shift
for deb; do
    dpkg-deb --fsys-tarfile "$deb" |
    tar --extract --file=- --directory="$root" --keep-directory-symlink \\
        --no-same-owner --no-same-permissions || exit
done"""


def unpack(debs: Sequence[Path], root: Path) -> None:
    """Unpack packages over each other into ``root``; works as an ordinary user.

    The links of a merged /usr come first, as base-files makes them in a script only. Raises InfraError.
    """
    for name in MERGED:
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        if not (root / name).is_symlink():
            (root / name).symlink_to(f"usr/{name}")
    argv = ["bash", "-c", _UNPACK, "unpack", str(root), *map(str, debs)]
    env = {**os.environ, "LC_ALL": "C", "TAR_OPTIONS": ""}
    proc.run(argv, what=f"unpacking {len(debs)} packages", timeout=UNPACK_SECONDS, env=env)
