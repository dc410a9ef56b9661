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
    folder (vmlinux, System.map, .config), ``log`` make's output. ``initrd``: what it boots with, if it needs one of its
    own.
    """

    key: str
    release: str
    profile: Profile
    image: Path
    modules: tuple[Path, ...]
    build: Path
    log: Path
    initrd: Path | None = None


@dataclass(frozen=True)
class Module:
    """The driver built for a kernel.

    ``files`` are the .ko files in load order, amdxdna last; ``build_id`` is its GNU build-id in hexadecimal, which a
    guest reads in /sys/module/amdxdna/notes. ``digest`` is a SHA-256 over the files: two modules of one kernel with the
    same digest behave the same. ``how`` says in one line what was built and why; ``warnings`` are the compiler's by
    text, without line numbers. ``counters``: the folder with gcov's .gcno, if the driver counts its lines.
    """

    key: str
    kernel: Kernel
    files: tuple[Path, ...]
    build_id: str
    digest: str
    log: Path
    how: str = ""
    warnings: tuple[str, ...] = ()
    counters: Path | None = None
