# SPDX-License-Identifier: GPL-2.0-only
"""Whether a PCI device of this host can be given to a guest: all that is in the way, each with its cure. Pure.

What is asked follows Documentation/driver-api/vfio.rst and Documentation/ABI/testing/sysfs-bus-pci of Linux.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

VFIO = "vfio-pci"
NPUS = {
    (0x1502, 0x00): "npu1",
    (0x17F0, 0x10): "npu4",
    (0x17F0, 0x11): "npu5",
    (0x17F0, 0x20): "npu6",
}
"""AMD's NPUs by PCI device and revision, as the driver's table has them (amdxdna_pci_drv.c)."""
AMD = 0x1022
_BRIDGE = 0x0604
"""PCI-to-PCI bridge: base class and subclass. Bridges of a group stay with the kernel (pcieport)."""


@dataclass(frozen=True)
class Function:
    """One PCI function as sysfs shows it. ``kind``: base class and subclass; ``driver``: empty without one."""

    address: str
    vendor: int
    device: int
    revision: int
    kind: int
    driver: str = ""

    @property
    def npu(self) -> str:
        """Its generation; empty: no NPU that the driver knows."""
        return NPUS.get((self.device, self.revision), "") if self.vendor == AMD else ""

    def __str__(self) -> str:
        return f"{self.address} ({self.vendor:04x}:{self.device:04x}, {self.driver or 'no driver'})"


@dataclass(frozen=True)
class Situation:
    """What the host says of a device.

    ``group``: its IOMMU group, empty without one, ``members`` the others in it. ``iommu``: an IOMMU is at work at all.
    ``users``: who has it open, in words. ``resets``: the ways to reset it. ``lockable``: bytes that this process may
    lock, None without a limit. ``modules``: those of vfio that are there, loaded, built in or to be loaded.
    ``may_write``: whether this process may bind drivers.
    """

    address: str
    function: Function | None
    group: str = ""
    members: tuple[Function, ...] = ()
    iommu: bool = False
    users: tuple[str, ...] = ()
    resets: tuple[str, ...] = ()
    lockable: int | None = None
    modules: frozenset[str] = frozenset()
    may_write: bool = True


@dataclass(frozen=True)
class Lack:
    """One thing in the way, and what helps."""

    what: str
    cure: str

    def __str__(self) -> str:
        return f"{self.what}: {self.cure}"


def lacks(now: Situation, guest_bytes: int, any_device: bool = False) -> list[Lack]:
    """All that is in the way of giving it to a guest of so much memory; nothing else can be said of a device that is
    not there. ``any_device``: it need not be an NPU."""
    if now.function is None:
        return [Lack(f"no PCI device {now.address}", "'lspci -D -d 1022:' names AMD's; the NPU is 17f0 or 1502")]
    return list(_lacks(now, now.function, guest_bytes, any_device))


def _lacks(now: Situation, function: Function, guest_bytes: int, any_device: bool) -> Iterator[Lack]:
    if not function.npu and not any_device:
        yield Lack(
            f"{function} is no NPU that the driver knows",
            f"one of {', '.join(sorted({f'1022:{d:04x}' for d, _ in NPUS}))}, please",
        )
    if not now.iommu:
        yield Lack(
            "the IOMMU is off",
            "switch it on in the firmware (AMD-Vi, IOMMU), and take amd_iommu=off or iommu=off from the command line",
        )
    elif not now.group:
        yield Lack(
            f"{now.address} is in no IOMMU group", "the IOMMU does not cover it: look for DMAR or AMD-Vi in dmesg"
        )
    for member in now.members:
        if member.kind != _BRIDGE and member.driver not in ("", VFIO):
            yield Lack(
                f"{member} is in the same IOMMU group ({now.group})",
                f"unbind it (echo {member.address} > /sys/bus/pci/devices/{member.address}/driver/unbind) if this host "
                "can do without it; else a slot or firmware setting with ACS",
            )
    for user in now.users:
        yield Lack(f"{user} has the device open", "end it")
    if not now.resets:
        yield Lack(
            f"{now.address} has no way to be reset",
            "the guest would meet what was left in it: a newer firmware or kernel may offer one (reset_method)",
        )
    if now.lockable is not None and now.lockable < guest_bytes:
        yield Lack(
            f"this process may lock {now.lockable >> 20} MiB, the guest has {guest_bytes >> 20}",
            "ulimit -l unlimited, or LimitMEMLOCK=infinity in its unit",
        )
    for module in sorted({VFIO, "vfio_iommu_type1"} - now.modules):
        yield Lack(f"the kernel has no {module}", f"modprobe {module}; or CONFIG_VFIO_PCI and CONFIG_VFIO_IOMMU_TYPE1")
    if not now.may_write:
        yield Lack("this user may bind no driver", "run it as root")
