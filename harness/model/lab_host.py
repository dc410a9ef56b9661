# SPDX-License-Identifier: GPL-2.0-only
"""A machine on which kernels under test are installed, as it was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

OURS = "-xdna-"
"""In the release of each kernel that we built: harness/engines/kbuild.py."""


@dataclass(frozen=True)
class Installed:
    """One of our kernels there. ``kib`` on disk, ``used``: when it was booted last, seconds since 1970."""

    release: str
    kib: int
    used: int


@dataclass(frozen=True)
class Grub:
    """``once``: its configuration boots next_entry once and forgets it; ``custom``: it reads custom.cfg. ``plain``:
    GRUB itself can write to where grubenv is, so that it can forget. ``mount`` and ``uuid``: the file system with our
    kernels as GRUB sees it, when /boot is one of its own, and the root file system's else."""

    folder: str
    reboot: str
    once: bool
    custom: bool
    plain: bool
    uuid: str
    mount: str


@dataclass(frozen=True)
class LabHost:
    """A machine that kernels are installed on. ``kexec``: it can load one. ``partuuid``: of the root file system, empty
    where that is on more than a partition. ``boot_partition``: systemd-boot's, where that boots the machine.
    ``initramfs``: its tool for that. ``watchdog``: the module for its hardware watchdog. ``free`` in KiB by folder.
    ``known_good``: the release that was recorded as its own. ``clock`` in seconds since 1970. ``users``: who has the
    NPU open. ``left``: folders of ours from before."""

    release: str
    cmdline: str
    rootfs: str
    partuuid: str
    systemd: bool
    kexec: bool
    grub: Grub | None
    boot_partition: str
    initramfs: str
    watchdog: str
    free: Mapping[str, int]
    installed: tuple[Installed, ...]
    known_good: str
    clock: float
    users: tuple[str, ...]
    left: tuple[str, ...]
    tainted: int

    @property
    def runs_ours(self) -> bool:
        """Whether a kernel of ours runs, not the one that the machine boots by default."""
        return OURS in self.release
