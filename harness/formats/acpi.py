# SPDX-License-Identifier: GPL-2.0-only
"""An ACPI table that replaces one of QEMU's: IVRS, with PASIDs (AMD I/O Virtualization Specification
48882, chapter 5).

QEMU's amd-iommu says PASmax 0, so the kernel allows no process address spaces. The kernel takes a newer
table of the same name from ``kernel/firmware/acpi/`` in an uncompressed archive in front of the initrd
(CONFIG_ACPI_TABLE_UPGRADE; Linux, Documentation/admin-guide/acpi/initrd_table_override.rst).
"""

from __future__ import annotations

import struct

IVRS_PATH = "kernel/firmware/acpi/ivrs.aml"
"""Where the kernel looks for it."""

_QEMU_EFR = 0x29D3
"""Extended features of QEMU's amd-iommu (hw/i386/amd_iommu.h, AMDVI_EXT_FEATURES; 10.1 to 11.1)."""
_PASMAX = 8 << 32
"""PASIDs of 9 bits: the most that a single-level GCR3 table holds, and GLX says there is no other."""
_GIOSUP = 1 << 48
_EPHSUP = 1 << 50
_IVINFO = 1 | 40 << 8
"""Extended features are valid; 40 bits of physical address."""
_IVHD = 0x11
_IVHD_FLAGS = 0x11
"""HtTunEn and IotlbSup, as in QEMU's own block of this type."""
_CAPABILITY = 0x40
_REGISTERS = 0xFED80000
_DEV_ALL, _DEV_SPECIAL, _IOAPIC = 1, 72, 1
_IOAPIC_DEVICE = 0xA0


def ivrs_override(iommu: int = 0x0008) -> bytes:
    """The whole table. ``iommu`` is the PCI address (bus << 8 | slot << 3 | function) of QEMU's AMDVI-PCI
    device.

    One entry for all devices, so the NPU may sit anywhere.
    """
    entries = struct.pack("<BHB", _DEV_ALL, 0, 0) + bytes(4)
    entries += struct.pack("<BHBBHB", _DEV_SPECIAL, 0, 0, 0, _IOAPIC_DEVICE, _IOAPIC)
    efr = _QEMU_EFR | _PASMAX | _GIOSUP | _EPHSUP
    head = struct.Struct("<BBHHHQHHIQQ")
    block = head.pack(_IVHD, _IVHD_FLAGS, head.size + len(entries), iommu, _CAPABILITY, _REGISTERS, 0, 0, 0, efr, 0)
    return _table(b"IVRS", 1, struct.pack("<IQ", _IVINFO, 0) + block + entries)


def _table(signature: bytes, revision: int, body: bytes) -> bytes:
    """A table with QEMU's own names, which the kernel compares, and an OEM revision above QEMU's 1."""
    size = 36 + len(body)
    header = struct.pack("<4sIBB6s8sI4sI", signature, size, revision, 0, b"BOCHS ", b"BXPC    ", 2, b"BXPC", 1)
    checksum = -sum(header + body) & 0xFF
    return header[:9] + bytes([checksum]) + header[10:] + body
