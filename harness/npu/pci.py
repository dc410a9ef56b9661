# SPDX-License-Identifier: GPL-2.0-only
"""PCI configuration space: identity, BARs, capabilities (PCI Express Base Specification 5.0, chapter 7).

QEMU emulates BARs, MSI-X control and the like for the guest and passes the rest through, writes included.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.npu.generations import Generation

CONFIG_SIZE = 4096
_FIRST_CAPABILITY = 0x48
_FIRST_EXTENDED = 0x100
_STATUS_CAPABILITIES = 1 << 4
_CLASS_SIGNAL_PROCESSING = (0x00, 0x80, 0x11)
_BAR_64BIT_PREFETCH = 0xC
MSIX_BAR, MSIX_TABLE, MSIX_PBA = 1, 0x0, 0x1000


class Capability:
    """A capability: its id, its bytes after the two-byte header, and which of their bits software may
    write.
    """

    id = 0

    def body(self) -> bytes:
        raise NotImplementedError

    def writable(self) -> bytes:
        """A mask as long as the body; 1 bits may be written."""
        return bytes(len(self.body()))


class PowerManagement(Capability):
    """Version 3, no PME. No_Soft_Reset is set: the registers survive D3hot, as the driver expects of its
    PSP.
    """

    id = 0x01

    def body(self) -> bytes:
        return struct.pack("<HHBB", 0x0003, 0x0008, 0, 0)

    def writable(self) -> bytes:
        return struct.pack("<HHBB", 0, 0x0003, 0, 0)


class PciExpress(Capability):
    """Version 2, endpoint (QEMU makes it a root-complex endpoint on pcie.0).

    Function-level reset, and End-End TLP prefixes, without which the kernel does not enable PASID.
    """

    id = 0x10
    DEVICE_CONTROL = 8
    FLR = 1 << 15

    def body(self) -> bytes:
        role_based_errors, flr, tlp_prefix = 1 << 15, 1 << 28, 1 << 21
        first = struct.pack("<HIHHIHH", 0x0002, role_based_errors | flr, 0x2810, 0, 0x103, 0, 0x1103)
        slot_and_root = bytes(16)
        second = struct.pack("<IHHIHH", tlp_prefix, 0, 0, 0x0E, 3, 0)
        return first + slot_and_root + second + bytes(8)

    def writable(self) -> bytes:
        first = struct.pack("<HIHHIHH", 0, 0, 0x7FFF, 0x000F, 0, 0x0FFB, 0)
        return first + bytes(16) + struct.pack("<IHHIHH", 0, 0xFFFF, 0, 0, 0xFFFF, 0) + bytes(8)


class MsiX(Capability):
    """``vectors`` vectors; table and pending bits in BAR 1."""

    id = 0x11

    def __init__(self, vectors: int) -> None:
        self._vectors = vectors

    def body(self) -> bytes:
        return struct.pack("<HII", self._vectors - 1, MSIX_TABLE | MSIX_BAR, MSIX_PBA | MSIX_BAR)

    def writable(self) -> bytes:
        return struct.pack("<HII", 0xC000, 0, 0)


class ExtendedCapability(Capability):
    """An extended capability; the body starts after the four-byte header."""

    version = 1


class Ats(ExtendedCapability):
    """Address translation service, page-aligned requests."""

    id = 0x0F

    def body(self) -> bytes:
        return struct.pack("<HH", 0x0020, 0)

    def writable(self) -> bytes:
        return struct.pack("<HH", 0, 0x801F)


class Pri(ExtendedCapability):
    """Page request interface, 64 outstanding requests. The device never sends one: see iommu.py."""

    id = 0x13

    def body(self) -> bytes:
        stopped, prg_pasid = 1 << 8, 1 << 15
        return struct.pack("<HHII", 0, stopped | prg_pasid, 64, 0)

    def writable(self) -> bytes:
        return struct.pack("<HHII", 0x0003, 0, 0, 0xFFFFFFFF)


class Pasid(ExtendedCapability):
    """Process address space ids of 16 bits, with execute and privileged requests."""

    id = 0x1B

    def body(self) -> bytes:
        return struct.pack("<HH", 16 << 8 | 0x6, 0)

    def writable(self) -> bytes:
        return struct.pack("<HH", 0, 0x0007)


@dataclass(frozen=True)
class _Placed:
    offset: int
    capability: Capability


class ConfigSpace:
    """The 4096 bytes. ``on_flr`` is called when software starts a function-level reset."""

    def __init__(self, generation: Generation, pasid: bool, on_flr: Callable[[], None]) -> None:
        self._on_flr = on_flr
        self._initial = bytearray(CONFIG_SIZE)
        self._mask = bytearray(CONFIG_SIZE)
        self._identity(generation)
        self._bars(generation)
        placed = self._capabilities([PowerManagement(), PciExpress(), MsiX(generation.vectors)])
        self._extended([Ats(), Pri(), Pasid()] if pasid else [])
        self._flr_byte = next(
            p.offset + PciExpress.DEVICE_CONTROL + 1 for p in placed if isinstance(p.capability, PciExpress)
        )
        self._data = bytearray(self._initial)

    def _identity(self, generation: Generation) -> None:
        struct.pack_into(
            "<HHHHBBBB",
            self._initial,
            0,
            0x1022,
            generation.device,
            0,
            _STATUS_CAPABILITIES,
            generation.revision,
            *_CLASS_SIGNAL_PROCESSING,
        )
        struct.pack_into("<HH", self._initial, 0x2C, 0x1022, generation.device)
        struct.pack_into("<H", self._mask, 0x04, 0x0547)
        self._mask[0x0C] = self._mask[0x3C] = 0xFF

    def _bars(self, generation: Generation) -> None:
        for bar, size in generation.bars.items():
            kind = _BAR_64BIT_PREFETCH if bar == generation.mailbox.sram else 0
            struct.pack_into("<I", self._initial, 0x10 + 4 * bar, kind)
            struct.pack_into("<I", self._mask, 0x10 + 4 * bar, -size & 0xFFFFFFF0)
            if kind:
                struct.pack_into("<I", self._mask, 0x14 + 4 * bar, 0xFFFFFFFF)

    def _capabilities(self, capabilities: Sequence[Capability]) -> list[_Placed]:
        placed = []
        offset, link = _FIRST_CAPABILITY, 0x34
        for capability in capabilities:
            self._initial[link] = offset
            self._initial[offset] = capability.id
            self._place(offset + 2, capability)
            placed.append(_Placed(offset, capability))
            link = offset + 1
            offset += (2 + len(capability.body()) + 3) & ~3
        return placed

    def _extended(self, capabilities: Sequence[ExtendedCapability]) -> None:
        offset = _FIRST_EXTENDED
        for left, capability in zip(range(len(capabilities) - 1, -1, -1), capabilities, strict=True):
            following = (offset + 4 + len(capability.body()) + 15) & ~15
            header = capability.id | capability.version << 16 | (following << 20 if left else 0)
            struct.pack_into("<I", self._initial, offset, header)
            self._place(offset + 4, capability)
            offset = following

    def _place(self, offset: int, capability: Capability) -> None:
        body = capability.body()
        self._initial[offset : offset + len(body)] = body
        self._mask[offset : offset + len(body)] = capability.writable()

    def reset(self) -> None:
        """Back to the state after power-up."""
        self._data[:] = self._initial

    def read(self, offset: int, count: int) -> bytes:
        return bytes(self._data[offset : offset + count])

    def write(self, offset: int, data: bytes) -> None:
        """Store the bits that may be written; the reset bit reads as 0 and starts the reset."""
        for at, value in enumerate(data, offset):
            mask = self._mask[at]
            self._data[at] = self._data[at] & ~mask | value & mask
            if at == self._flr_byte and value & PciExpress.FLR >> 8:
                self._on_flr()
