# SPDX-License-Identifier: GPL-2.0-only
"""The IVRS table, taken apart as the kernel does it (drivers/iommu/amd/init.c)."""

from __future__ import annotations

import struct

from harness.formats.acpi import ivrs_override


def test_the_header_makes_the_kernel_take_it_instead_of_qemus() -> None:
    table = ivrs_override()
    signature, size, revision, _, oem, oem_table, oem_revision = struct.unpack_from("<4sIBB6s8sI", table)
    assert (signature, size, revision) == (b"IVRS", len(table), 1)
    assert (oem, oem_table) == (b"BOCHS ", b"BXPC    "), "the kernel compares them with QEMU's"
    assert oem_revision > 1, "QEMU's is 1"
    assert sum(table) & 0xFF == 0


def test_the_iommu_has_process_address_spaces() -> None:
    table = ivrs_override()
    kind, _, size, device, capability, registers = struct.unpack_from("<BBHHHQ", table, 48)
    assert (kind, device, capability, registers) == (0x11, 0x0008, 0x40, 0xFED80000)
    assert 48 + size == len(table)
    efr = struct.unpack_from("<Q", table, 48 + 24)[0]
    pasmax, glx = efr >> 32 & 0x1F, efr >> 14 & 3
    assert pasmax == 8
    assert pasmax + 1 <= 9 * (glx + 1), "a GCR3 table of that many levels holds all PASIDs"
    wanted = {"PPR": 1, "GT": 4, "GIOSUP": 48, "EPHSUP": 50}
    assert [name for name, bit in wanted.items() if not efr >> bit & 1] == []


def test_all_devices_and_the_ioapic_are_covered() -> None:
    entries = ivrs_override()[48 + 40 :]
    assert entries[0] == 1, "all devices"
    handle, device, variety = struct.unpack_from("<BHB", entries, 12)
    assert (entries[8], handle, device, variety) == (72, 0, 0xA0, 1)


def test_the_iommus_place_can_be_told() -> None:
    assert struct.unpack_from("<H", ivrs_override(0x0010), 52)[0] == 0x10
    assert sum(ivrs_override(0x0010)) & 0xFF == 0
