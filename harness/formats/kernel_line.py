# SPDX-License-Identifier: GPL-2.0-only
"""The command line of a kernel under test on a machine that has one of its own."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model.kernel import Profile
from harness.model.lab_host import LabHost

PANIC_SECONDS = 10
DROPPED = ("BOOT_IMAGE=", "initrd=", "panic=", "oops=", "quiet", "splash", "systemd.unit=", "init=")
GUARDS = (
    f"panic={PANIC_SECONDS} oops=panic softlockup_panic=1 hardlockup_panic=1 panic_sys_info=all_bt unknown_nmi_panic "
    "sysctl.kernel.hung_task_timeout_secs=20 printk.devkmsg=on"
)
"""A kernel that dies in part or hangs panics, and a panic boots the machine anew: into its own kernel. A panic waits a
little: pstore and a slow serial line are still busy."""
DEBUG = "kasan_multi_shot log_buf_len=16M"
"""As for the emulated target (harness/host/vm.py)."""


@dataclass(frozen=True)
class KernelLine:
    """``initramfs``: without one of the machine's own making the root file system is not found."""

    text: str
    initramfs: bool


def kernel_line(host: LabHost, profile: Profile, more: str = "") -> KernelLine:
    """The machine's own words, where they do not speak of its own kernel, and what guards it. root= becomes a
    partition, which the kernel finds by itself; ``more`` comes last and has the last word."""
    words = [word for word in host.cmdline.split() if not word.startswith(DROPPED)]
    root = next((word.removeprefix("root=") for word in words if word.startswith("root=")), "")
    if host.partuuid:
        root = f"PARTUUID={host.partuuid}"
    by_itself = root.startswith(("PARTUUID=", "/dev/")) and not root.startswith("/dev/mapper/")
    words = [word for word in words if not word.startswith(("root=", "rootfstype="))]
    place = [f"root={root}", "rootwait"] if by_itself else [f"root={root}"]
    if by_itself and host.rootfs:
        place.append(f"rootfstype={host.rootfs}")
    words = [word for word in words if word != "rootwait"]
    debug = [DEBUG] if profile is Profile.DEBUG else []
    return KernelLine(" ".join([*place, *words, GUARDS, *debug, *more.split()]), not by_itself)
