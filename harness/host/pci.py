# SPDX-License-Identifier: GPL-2.0-only
"""PCI devices, their IOMMU groups and who has them open, as sysfs and procfs show them. Reads only.

Every path is below ``root``, so that a test can lay out a tree of its own.
"""

from __future__ import annotations

import os
import re
import resource
from contextlib import suppress
from pathlib import Path

from harness.errors import UsageError
from harness.model.passthrough import VFIO, Function, Situation

ADDRESS = re.compile(r"(?:([0-9a-f]{4}):)?([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])", re.I)
MODULES = (VFIO, "vfio_iommu_type1")


def full_address(text: str) -> str:
    """``0000:c5:00.1`` also of ``c5:00.1``. UsageError: it is no PCI address."""
    found = ADDRESS.fullmatch(text)
    if not found:
        raise UsageError(f"{text!r} is no PCI address", hint="as lspci -D writes it: 0000:c5:00.1")
    return f"{found[1] or '0000'}:{found[2]}".lower()


class Pci:
    """The PCI bus of the machine whose files are below ``root``."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self.devices = root / "sys/bus/pci/devices"

    def folder(self, address: str) -> Path:
        return self.devices / address

    def driver(self, address: str) -> str:
        """The driver that it is bound to; empty: none."""
        link = self.folder(address) / "driver"
        return link.resolve().name if link.is_symlink() else ""

    def function(self, address: str) -> Function | None:
        """None: there is no such device."""
        folder = self.folder(address)
        try:
            vendor, device, revision, kind = (
                int((folder / name).read_text(), 16) for name in ("vendor", "device", "revision", "class")
            )
        except (OSError, ValueError):
            return None
        return Function(address, vendor, device, revision, kind >> 8, self.driver(address))

    def npus(self) -> list[Function]:
        """AMD's NPUs of this machine."""
        found = (self.function(name) for name in _names(self.devices))
        return [function for function in found if function is not None and function.npu]

    def situation(self, address: str) -> Situation:
        """All that matters for giving it to a guest."""
        function = self.function(address)
        if function is None:
            return Situation(address, None)
        folder = self.folder(address)
        link = folder / "iommu_group"
        group = link.resolve().name if link.is_symlink() else ""
        return Situation(
            address,
            function,
            group,
            tuple(self._members(group, address)),
            any(_names(self.root / "sys/class/iommu")) or any(_names(self.root / "sys/kernel/iommu_groups")),
            tuple(self._users(folder)),
            tuple(_text(folder / "reset_method").split()),
            _lockable(),
            frozenset(module for module in MODULES if self._has_module(module)),
            os.access(folder / "driver_override", os.W_OK),
        )

    def _members(self, group: str, address: str) -> list[Function]:
        folder = self.root / "sys/kernel/iommu_groups" / group / "devices"
        found = (self.function(name) for name in _names(folder) if group and name != address)
        return [function for function in found if function is not None]

    def _users(self, folder: Path) -> list[str]:
        """Processes with one of the device's nodes open: /dev/accel/N of its accel folder."""
        nodes = {f"/dev/accel/{name}" for name in _names(folder / "accel")}
        users = []
        for process in sorted(name for name in _names(self.root / "proc") if name.isdecimal()):
            fds = self.root / "proc" / process / "fd"
            for fd in _names(fds):
                with suppress(OSError):
                    if os.readlink(fds / fd) in nodes:
                        name = _text(self.root / "proc" / process / "comm").strip()
                        users.append(f"process {process} ({name})")
                        break
        return users

    def _has_module(self, name: str) -> bool:
        """Loaded or built in as a part, or among those of this kernel (modules.dep, modules.builtin: kmod's files)."""
        plain = name.replace("-", "_")
        if (self.root / "sys/module" / plain).is_dir():
            return True
        release = _text(self.root / "proc/sys/kernel/osrelease").strip()
        folder = self.root / "lib/modules" / release
        pattern = re.compile(rf"/{plain}\.ko".replace("_", "[-_]"))
        return any(pattern.search(_text(folder / file)) for file in ("modules.dep", "modules.builtin"))


def _lockable() -> int | None:
    """RLIMIT_MEMLOCK in bytes; root has none for this (CAP_IPC_LOCK: drivers/vfio/vfio_iommu_type1.c)."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return None if soft == resource.RLIM_INFINITY or os.geteuid() == 0 else soft


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
