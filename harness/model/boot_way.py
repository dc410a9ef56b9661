# SPDX-License-Identifier: GPL-2.0-only
"""How a machine gets into a kernel once, so that whatever becomes of that, the next boot is into its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from harness.model.lab_host import LabHost


class BootWay(StrEnum):
    """In the order in which we prefer them: over kexec a watchdog that was armed before runs on, over firmware none
    does."""

    KEXEC = "kexec"
    GRUB = "grub"
    SYSTEMD_BOOT = "systemd-boot"


@dataclass(frozen=True)
class Choice:
    """``way`` None: there is none. ``why``: in one line, for a person."""

    way: BootWay | None
    why: str


def choose(host: LabHost, wanted: str = "auto") -> Choice:
    """The way that the machine offers; ``wanted`` names one, or is "auto"."""
    lacks = {way: why for way, why in _lacks(host).items() if wanted in ("auto", way)}
    for way, why in lacks.items():
        if not why:
            net = "the watchdog runs on" if way is BootWay.KEXEC and host.watchdog else "no watchdog until it is up"
            return Choice(way, f"{way.value} ({net})")
    return Choice(None, "; ".join(f"{way.value}: {why}" for way, why in lacks.items()))


def _lacks(host: LabHost) -> Mapping[BootWay, str]:
    """What each way wants of this machine; empty: nothing."""
    return {
        BootWay.KEXEC: "" if host.kexec else "no kexec program, or the kernel forbids it (lockdown)",
        BootWay.GRUB: _grub_lacks(host),
        BootWay.SYSTEMD_BOOT: "" if host.boot_partition else "does not boot this machine",
    }


def _grub_lacks(host: LabHost) -> str:
    """A GRUB that cannot forget would boot the kernel under test for ever."""
    grub = host.grub
    if grub is None:
        return "does not boot this machine"
    if not grub.once:
        return f"{grub.folder}/grub.cfg knows no next_entry (GRUB_DEFAULT=saved and grub-mkconfig would write it)"
    if not grub.custom:
        return f"{grub.folder}/grub.cfg does not read custom.cfg"
    if not grub.plain:
        return f"cannot write to the file system of {grub.folder}, and so not forget what it was to boot once"
    return ""
