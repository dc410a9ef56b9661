# SPDX-License-Identifier: GPL-2.0-only
"""What a lab machine says of how it boots: the line that harness/guest/probe.py prints there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.model.lab_host import Grub, Installed, LabHost

HOME = "/boot/xdna-harness"
"""Where our kernels are on the machine: beside its own, and out of sight of grub-mkconfig, which would make the newest
of /boot its default."""
STATE = "/var/lib/xdna-harness"
SYSTEMD_BOOT = "systemd-boot "
"""How it calls itself. A GRUB that is installed beside it would never see what it is told to boot."""
GRUB_WRITES = ("ext2", "ext3", "ext4", "vfat", "xfs")
"""File systems on which GRUB's save_env can write grubenv in place (its manual, "Environment block"): no btrfs, no
zfs."""
PLAIN = {"part", "disk"}
"""lsblk's types of what GRUB writes through: no LVM, no RAID, no encryption."""


def read(output: str) -> LabHost | None:
    """The probe's last line; None when there is none. What it left out reads as not there."""
    for line in reversed(output.splitlines()):
        try:
            said = json.loads(line)
            return _read(said)
        except (ValueError, TypeError, AttributeError, LookupError):
            continue
    return None


def _read(said: Mapping[str, Any]) -> LabHost:
    lockdown = str(said.get("lockdown", ""))
    stacked = set(said.get("below", ())) - PLAIN
    return LabHost(
        release=str(said["release"]),
        cmdline=str(said["cmdline"]),
        rootfs=str(said.get("rootfs", "")),
        partuuid="" if stacked else str(said.get("partuuid", "")),
        systemd=bool(said.get("systemd")),
        kexec=bool(said.get("kexec")) and ("[" not in lockdown or "[none]" in lockdown),
        grub=None if str(said.get("loader", "")).startswith(SYSTEMD_BOOT) else _grub(said.get("grub") or {}),
        boot_partition=str(said.get("sdboot", "")),
        initramfs=str(said.get("initramfs", "")),
        watchdog=str(said.get("watchdog", "")),
        free={str(folder): int(kib) for folder, kib in said.get("free", {}).items()},
        installed=tuple(Installed(str(name), int(kib), int(used)) for name, kib, used in said.get("ours", ())),
        known_good=str(said.get("known", "")),
        clock=float(said.get("clock", 0.0)),
        users=tuple(map(str, said.get("users", ()))),
        left=tuple(map(str, said.get("left", ()))),
        tainted=int(said.get("taint", 0)),
    )


def _grub(said: Mapping[str, Any]) -> Grub | None:
    if not said.get("folder") or not said.get("reboot"):
        return None
    return Grub(
        str(said["folder"]),
        str(said["reboot"]),
        bool(said.get("once")),
        bool(said.get("custom")),
        said.get("fs") in GRUB_WRITES and not set(said.get("below", ())) - PLAIN,
        str(said.get("uuid", "")),
        str(said.get("mount", "")),
    )
