# SPDX-License-Identifier: GPL-2.0-only
"""The walk through device table, GCR3 table and page tables, on tables that the test builds."""

from __future__ import annotations

import struct

import pytest

from harness.npu.iommu import Iommu, IommuFault
from harness.npu.trouble import HarnessFault
from harness.vfio_user.memory import DmaError

TABLE, GCR3, ROOT = 0x10000, 0x12345000, 0x20000
BDF, PASID, VA = 0x28, 3, 0x7E1234567000
P, W, PS = 1, 2, 1 << 7
V, TV, GIOV, GV = 1, 2, 1 << 54, 1 << 55


class Ram:
    """Physical memory of 64-bit words and some bytes."""

    def __init__(self) -> None:
        self.bytes: dict[int, int] = {}

    def quad(self, address: int, value: int) -> None:
        self.write(address, struct.pack("<Q", value))

    def read(self, address: int, size: int) -> bytes:
        if address >> 40:
            raise DmaError("not mapped")
        return bytes(self.bytes.get(address + n, 0) for n in range(size))

    def write(self, address: int, data: bytes) -> None:
        if address >> 40:
            raise DmaError("not mapped")
        for n, value in enumerate(data):
            self.bytes[address + n] = value


def entry(ram: Ram, flags: int = V | TV | GV, glx: int = 0, levels: int = 0) -> None:
    ram.quad(TABLE + BDF * 32, flags | glx << 56 | (GCR3 >> 12 & 7) << 58)
    ram.quad(TABLE + BDF * 32 + 8, (GCR3 >> 15 & 0xFFFF) << 16 | (GCR3 >> 31) << 43)
    ram.quad(TABLE + BDF * 32 + 16, levels << 54)


def page(ram: Ram, va: int, leaf: int, shift: int = 12, root: int = ROOT) -> None:
    """Build the tables for one address; tables lie behind each other from ``root``."""
    at = root
    for level in (39, 30, 21, 12):
        slot = at + (va >> level & 511) * 8
        if level == shift:
            ram.quad(slot, leaf)
            return
        at += 0x1000
        ram.quad(slot, at | P | W)


def system(pasid: int = PASID) -> tuple[Ram, Iommu]:
    ram = Ram()
    entry(ram)
    ram.quad(GCR3 + pasid * 8, ROOT | P)
    iommu = Iommu(ram, BDF, required=False)
    iommu.base = TABLE
    return ram, iommu


def test_a_page_is_found_through_all_levels() -> None:
    ram, iommu = system()
    page(ram, VA, 0x5000 | P | W)
    ram.write(0x5123, b"data")
    assert iommu.read(PASID, VA + 0x123, 4) == b"data"
    iommu.write(PASID, VA + 0x200, b"back")
    assert ram.read(0x5200, 4) == b"back"


@pytest.mark.parametrize(("shift", "bit"), [(21, PS), (30, PS)])
def test_large_pages(shift: int, bit: int) -> None:
    ram, iommu = system()
    page(ram, VA, 0x40000000 | P | W | bit, shift)
    physical = 0x40000000 + (VA & (1 << shift) - 1)
    ram.write(physical, b"big")
    assert iommu.read(PASID, VA, 3) == b"big"


def test_a_range_over_pages_that_are_not_neighbours() -> None:
    ram, iommu = system()
    page(ram, VA, 0x5000 | P | W)
    ram.quad(ROOT + 0x3000 + (VA + 0x1000 >> 12 & 511) * 8, 0x9000 | P | W)
    iommu.write(PASID, VA + 0xFFE, b"abcd")
    assert (ram.read(0x5FFE, 2), ram.read(0x9000, 2)) == (b"ab", b"cd")
    assert iommu.read(PASID, VA + 0xFFE, 4) == b"abcd"


def test_a_write_that_faults_half_way_writes_nothing() -> None:
    ram, iommu = system()
    page(ram, VA, 0x5000 | P | W)
    ram.quad(ROOT + 0x3000 + (VA + 0x1000 >> 12 & 511) * 8, 0x9000 | P | W)
    with pytest.raises(IommuFault):
        iommu.write(PASID, VA + 0xFFE, bytes([255]) * 0x1004)
    assert ram.read(0x5FFE, 2) == b"\0\0"


def test_a_five_level_table_and_a_two_level_gcr3_table() -> None:
    ram, iommu = system()
    entry(ram, glx=1, levels=1)
    ram.quad(GCR3 + (700 >> 9) * 8, 0x70000 | P)
    ram.quad(0x70000 + (700 & 511) * 8, 0x80000 | P)
    ram.quad(0x80000, ROOT | P | W)
    page(ram, VA, 0x5000 | P | W)
    ram.write(0x5000, b"five")
    assert iommu.read(700, VA, 4) == b"five"


@pytest.mark.parametrize(
    ("leaf", "write", "why"),
    [(0x5000, False, "not present"), (0x5000 | P, True, "read-only")],
)
def test_what_the_tables_forbid_is_a_fault(leaf: int, write: bool, why: str) -> None:
    ram, iommu = system()
    page(ram, VA, leaf)
    with pytest.raises(IommuFault, match=why):
        iommu.write(PASID, VA, b"x") if write else iommu.read(PASID, VA, 1)


def test_an_unknown_pasid_and_an_entry_without_tables_are_faults() -> None:
    ram, iommu = system()
    with pytest.raises(IommuFault, match="no such PASID"):
        iommu.read(PASID + 1, VA, 1)
    entry(ram, flags=V | TV)
    with pytest.raises(IommuFault, match="no GCR3 table"):
        iommu.read(PASID, VA, 1)


def test_without_pasid_an_address_is_the_bus_address() -> None:
    ram, iommu = system()
    ram.write(0x7000, b"bus")
    assert iommu.read(0, 0x7000, 3) == b"bus"
    iommu.base = None
    assert iommu.read(0, 0x7000, 3) == b"bus"


def test_without_pasid_a_v2_domain_is_walked_as_pasid_0() -> None:
    ram, iommu = system(pasid=0)
    entry(ram, flags=V | TV | GV | GIOV)
    page(ram, 0x7FFFF8000000, 0x5000 | P | W)
    ram.write(0x5000, b"iova")
    assert iommu.read(0, 0x7FFFF8000000, 4) == b"iova"


def test_a_bus_address_that_nobody_mapped_is_a_fault() -> None:
    ram, iommu = system()
    with pytest.raises(IommuFault, match="not mapped"):
        iommu.read(0, 1 << 41, 4)
    page(ram, VA, 1 << 41 | P | W)
    with pytest.raises(IommuFault, match="not mapped"):
        iommu.write(PASID, VA, b"x")


@pytest.mark.parametrize(("pasid", "required"), [(PASID, False), (0, True)])
def test_an_unknown_device_table_is_the_harnesss_fault(pasid: int, required: bool) -> None:
    with pytest.raises(HarnessFault, match="device-table"):
        Iommu(Ram(), BDF, required).read(pasid, VA, 1)


IR, IW = 1 << 61, 1 << 62
BUS = 0x12345000


def host_table(ram: Ram, levels: int = 3) -> None:
    """The device has a domain with v1 tables, as vfio makes: mode in bits 9 to 11 of its entry, the root above."""
    ram.quad(TABLE + BDF * 32, V | TV | IR | IW | levels << 9 | ROOT)


def host_page(ram: Ram, leaf: int, leaf_level: int = 1, levels: int = 3) -> None:
    at = ROOT
    for level in range(levels, leaf_level - 1, -1):
        slot = at + (BUS >> 12 + 9 * (level - 1) & 511) * 8
        at += 0x1000
        ram.quad(slot, leaf | P | IR | IW if level == leaf_level else at | P | IR | IW | level - 1 << 9)


@pytest.mark.parametrize(
    ("leaf", "level", "physical"),
    [
        (0x5000, 1, 0x5000),
        (0x40000000, 2, 0x40000000 + (BUS & 0x1FFFFF)),
        (0x50003000 | 7 << 9, 1, 0x50000000 + (BUS & 0x7FFF)),  # 32 KiB: the address's low bits are 0 and two 1
        (0x50000000 | 7 << 9, 1, 0x50000000 + (BUS & 0x1FFF)),  # 8 KiB: its lowest bit is 0
    ],
)
def test_without_a_pasid_a_host_page_table_translates(leaf: int, level: int, physical: int) -> None:
    ram, iommu = system()
    host_table(ram)
    host_page(ram, leaf, level)
    ram.write(physical + 0x10, b"dma")
    assert iommu.read(0, BUS + 0x10, 3) == b"dma"


def test_what_a_host_page_table_forbids_is_a_fault() -> None:
    ram, iommu = system()
    host_table(ram)
    with pytest.raises(IommuFault, match="forbids"):
        iommu.read(0, BUS, 1)
    host_page(ram, 0x5000)
    ram.quad(ROOT + 0x2000 + (BUS >> 12 & 511) * 8, 0x5000 | P | IR)
    assert iommu.read(0, BUS, 1) == b"\0"
    with pytest.raises(IommuFault, match="forbids"):
        iommu.write(0, BUS, b"x")
    with pytest.raises(IommuFault, match="beyond"):
        iommu.read(0, 1 << 40, 1)


def test_an_entry_without_levels_passes_bus_addresses_on() -> None:
    ram, iommu = system()
    ram.quad(TABLE + BDF * 32, V | TV | IR | IW)
    ram.write(BUS, b"pt")
    assert iommu.read(0, BUS, 2) == b"pt"
