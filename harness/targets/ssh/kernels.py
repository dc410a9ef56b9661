# SPDX-License-Identifier: GPL-2.0-only
"""Kernels of ours on a machine that has its own: installed beside it, never over it, and removed again."""

from __future__ import annotations

import io
import re
import tarfile
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InfraError
from harness.formats import modinfo
from harness.formats.lab_host import HOME, STATE
from harness.host import buildfolder
from harness.log import step
from harness.model.kernel import Kernel
from harness.model.lab_host import OURS, LabHost
from harness.model.upkeep import make_room
from harness.targets.ssh.machine import Machine

WATCHDOGS = ("sp5100_tco", "i6300esb", "iTCO_wdt")
"""They travel with the agent: at probe they stop what runs, and udev would load them long before the agent is there."""
LISTS = ("modules.order", "modules.builtin", "modules.builtin.modinfo")
INITRAMFS = {
    "mkinitramfs": "mkinitramfs -o {file} {release}",
    "dracut": "dracut --force --hostonly {file} {release}",
    "mkinitcpio": "mkinitcpio -k {release} -g {file}",
}
INITRAMFS_SECONDS = 600.0
_RELEASE = re.compile(rf"[\w.+-]+{OURS}[0-9a-f]+")


@dataclass(frozen=True)
class There:
    """Where a kernel is on the machine; ``initrd`` empty: it needs none."""

    release: str
    image: str
    initrd: str = ""


def know_good(machine: Machine, host: LabHost) -> str:
    """The release of the machine's own kernel; recorded there when it runs. InfraError: nobody knows it."""
    if not host.runs_ours:
        if host.known_good != host.release:
            script = f"mkdir -p {STATE} && echo {_quoted(host.release)} > {STATE}/known-good"
            machine.do("recording its own kernel", script)
        return host.release
    if not host.known_good:
        raise InfraError(
            f"{machine.name} runs {host.release}, and nobody recorded its own kernel",
            hint="boot it into that one, and run again",
        )
    return host.known_good


def install(machine: Machine, host: LabHost, kernel: Kernel, initramfs: bool, keep: Collection[str] = ()) -> There:
    """Put the kernel there if it is not there yet, and take old ones of ours away. ``initramfs``: with one of the
    machine's own making. InfraError: there is no room, or the machine says no."""
    release = kernel.release
    if not _RELEASE.fullmatch(release):
        raise InfraError(f"{release!r} is no release of ours", hint="only kernels that were built here are installed")
    kib = (kernel.image.stat().st_size >> 10) * (3 if initramfs else 1)
    room = make_room(host, release, kib, keep)
    for old in room.remove:
        remove(machine, old)
    if room.lacks:
        raise InfraError(f"{machine.name}: {room.lacks}", hint="make room there; nothing was installed")
    there = There(release, f"{HOME}/vmlinuz-{release}", f"{HOME}/initrd-{release}" if initramfs else "")
    with step(f"{machine.name}: installing {release}"):
        _send_modules(machine, kernel)
        if there.initrd:
            _make_initramfs(machine, host, there)
        machine.send(kernel.image, there.image)
        machine.do("marking it as used", f"touch -d @{time.time():.0f} {there.image}")
    return there


def remove(machine: Machine, release: str) -> None:
    """Take one of ours away, whole. InfraError."""
    if not _RELEASE.fullmatch(release):
        raise InfraError(f"{machine.name}: {HOME} holds {release!r}, which is none of ours", hint="look at it")
    names = f"{HOME}/vmlinuz-{release}* {HOME}/initrd-{release}* /lib/modules/{release}"
    machine.do(f"removing {release}", f"rm -rf -- {names}")


def watchdog_modules(kernel: Kernel, name: str) -> list[Path]:
    """The watchdog's driver and what it needs, in load order; none when the kernel has not got it as a module."""
    paths = _modules(kernel)
    if name not in paths:
        return []
    needs = {key: modinfo.depends_of(buildfolder.content(kernel.build, path)) for key, path in paths.items()}
    return [kernel.build / paths[key] for key in modinfo.load_order(name, needs)]


def _modules(kernel: Kernel) -> dict[str, str]:
    """Every module of the kernel: its path in the build folder by its name in the kernel."""
    listed = buildfolder.text_of(kernel.build, "modules.order").split()
    files = [str(Path(name.removesuffix(".o")).with_suffix(".ko")) for name in listed]
    return {Path(file).stem.replace("-", "_"): file for file in files}


def _send_modules(machine: Machine, kernel: Kernel) -> None:
    """/lib/modules/RELEASE: what modprobe and an initramfs need, and the modules that the user's own fragment asks for.
    Not the driver under test and not the watchdogs, which travel with the agent."""
    folder = f"/lib/modules/{kernel.release}"
    if machine.root(f"test -s {folder}/modules.dep", 60.0)[0] == 0:
        return
    travels = {*(path.stem.replace("-", "_") for path in kernel.modules), *WATCHDOGS, "watchdog"}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in LISTS:
            _add(tar, name, buildfolder.content(kernel.build, name))
        for name, path in _modules(kernel).items():
            if name not in travels:
                _add(tar, f"kernel/{path}", buildfolder.content(kernel.build, path))
    script = f"mkdir -p {folder} && tar --no-same-owner -xf - -C {folder} && depmod -a {kernel.release}"
    machine.do("installing modules", f"export PATH=$PATH:/sbin:/usr/sbin; {script}", 300.0, buffer.getvalue())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    tar.addfile(info, io.BytesIO(data))


def _make_initramfs(machine: Machine, host: LabHost, there: There) -> None:
    """By the machine's own tool, which knows its disks."""
    if host.initramfs not in INITRAMFS:
        raise InfraError(
            f"{machine.name}: its root file system is not on a plain partition, and it has no tool for an initramfs",
            hint=f"install one of {', '.join(INITRAMFS)} there",
        )
    part = f"{there.initrd}.part"  # one that was cut off would be taken for a kernel that does not boot
    words = INITRAMFS[host.initramfs].format(file=part, release=there.release)
    made = f"rm -f {part} && {words} && test -s {part} && sync {part} && mv {part} {there.initrd}"
    script = f"mkdir -p {HOME}; test -s {there.initrd} || {{ {made}; }}"
    machine.do("making an initramfs", f"export PATH=$PATH:/sbin:/usr/sbin; {script}", INITRAMFS_SECONDS)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
