# SPDX-License-Identifier: GPL-2.0-only
"""What building a tree gives."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Profile(StrEnum):
    """Which kconfig fragments a kernel is built from: ``jobs/kconfig/<profile>.config``."""

    PLAIN = "plain"
    DEBUG = "debug"


@dataclass(frozen=True)
class Kernel:
    """A bootable kernel and the driver built with it.

    ``release`` is what ``uname -r`` must say in the guest; it carries ``key``. ``image`` is the bzImage. ``modules``
    are the .ko files the driver needs, in the order in which they are loaded, amdxdna last. ``build`` is the build
    folder (vmlinux, System.map, .config), ``log`` make's output.
    """

    key: str
    release: str
    profile: Profile
    image: Path
    modules: tuple[Path, ...]
    build: Path
    log: Path
