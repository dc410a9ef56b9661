# SPDX-License-Identifier: GPL-2.0-only
"""What a device offers to the server, and what the server offers to a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from harness.vfio_user.irqs import Irqs
from harness.vfio_user.memory import GuestMemory

CONFIG_REGION = 7
"""Region of the configuration space; 0 to 5 are the BARs, 6 the ROM, 8 VGA (linux/vfio.h)."""
REGIONS = 9


class Irq(IntEnum):
    """Interrupt types of a PCI device (linux/vfio.h)."""

    INTX = 0
    MSI = 1
    MSIX = 2
    ERR = 3
    REQ = 4


@dataclass(frozen=True)
class Region:
    """Size in bytes (0: absent) and, if the client may map it, the file descriptor that it maps from
    offset 0.
    """

    size: int = 0
    fd: int | None = None


@dataclass(frozen=True)
class Bus:
    """The client as the device sees it."""

    memory: GuestMemory
    irqs: Irqs


class Device(Protocol):
    """A PCI device. Accesses stay within their region's size; any exception ends the server."""

    @property
    def regions(self) -> Sequence[Region]:
        """One per region index."""

    @property
    def irqs(self) -> Sequence[int]:
        """Number of vectors per interrupt type."""

    def attach(self, bus: Bus) -> None:
        """A client is there."""

    def detach(self) -> None:
        """The client is gone, and its memory and interrupts with it."""

    def reset(self) -> None:
        """The client resets the device."""

    def read(self, region: int, offset: int, count: int) -> bytes:
        """``count`` bytes at ``offset``."""

    def write(self, region: int, offset: int, data: bytes) -> None:
        """Store ``data``; its effects are done when this returns."""
