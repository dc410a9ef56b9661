# SPDX-License-Identifier: GPL-2.0-only
"""What the IOMMU does to the device's addresses: device table, GCR3 table, page table, all in guest memory.

vfio-user carries no PASID, so the device walks the guest's own tables (AMD I/O Virtualization Technology
Specification, 48882, section 2.2; drivers/iommu/amd/iommu.c, set_dte_gcr3_table):

- with a PASID: device table entry, GCR3 table, page table of the process;
- without: PASID 0 if the entry says so (GIOV; a domain with v2 tables, as force_iova has), else the host page
  table (section 2.2.3; a domain with v1 tables, as vfio makes for a guest), else the bus address.

Nothing is cached, accessed and dirty bits are left alone, and there are no page requests: a page that is
not there is a fault. The driver has all pages of a buffer present before the device may touch them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Protocol

from harness.npu.codes import Status
from harness.npu.trouble import HarnessFault, Trouble
from harness.vfio_user.memory import DmaError

_ADDRESS = 0x000F_FFFF_FFFF_F000
_PRESENT, _WRITABLE, _HUGE = 1, 2, 1 << 7
_DTE_VALID, _DTE_TRANSLATE = 1 << 0, 1 << 1
_DTE_GIOV, _DTE_GV = 1 << 54, 1 << 55
_READS, _WRITES = 1 << 61, 1 << 62
_DEFAULT_SIZE, _OTHER_SIZE = 0, 7
"""Next level of a host page table's entry that is a page: of its level's size, or as its address says."""
_ENTRY = struct.Struct("<QQQQ")
_QUAD = struct.Struct("<Q")


class Memory(Protocol):
    """Bus addresses to bytes: harness.vfio_user.memory.GuestMemory."""

    def read(self, address: int, size: int) -> bytes: ...

    def write(self, address: int, data: bytes) -> None: ...


class IommuFault(Trouble):
    """The device used an address that the guest's tables do not allow."""

    event = "iommu-fault"
    status = Status.AIE_ACCESS_ERROR

    def __init__(self, pasid: int, address: int, why: str) -> None:
        super().__init__(f"PASID {pasid}, address {address:#x}: {why}", pasid=pasid, address=address)


class Iommu:
    """Translates and accesses. ``base`` is the device table's physical address, ``bdf`` the device's place
    in it.

    ``required``: without a known table there is nothing to fall back to (force-iova).
    """

    def __init__(self, memory: Memory, bdf: int, required: bool) -> None:
        self.memory = memory
        self._required = required
        self.bdf = bdf
        self.base: int | None = None

    def read(self, pasid: int, address: int, size: int) -> bytes:
        """Raises IommuFault, or HarnessFault when nobody told where the device table is."""
        try:
            return b"".join(self.memory.read(*piece) for piece in self._pieces(pasid, address, size, False))
        except DmaError as error:
            raise IommuFault(pasid, address, str(error)) from error

    def write(self, pasid: int, address: int, data: bytes) -> None:
        """Raises as :meth:`read`."""
        try:
            done = 0
            for at, part in list(self._pieces(pasid, address, len(data), True)):
                self.memory.write(at, data[done : done + part])
                done += part
        except DmaError as error:
            raise IommuFault(pasid, address, str(error)) from error

    def _pieces(self, pasid: int, address: int, size: int, write: bool) -> Iterator[tuple[int, int]]:
        """Bus (address, bytes) of a range; neighbouring pages that stay neighbours are one piece."""
        table = self._page_table(pasid, address)
        host = None if table else self._host_table()
        if table is None and host is None:
            yield address, size
            return
        start, length = 0, 0
        while size:
            if table:
                physical, page = self._walk(pasid, table, address, write)
            else:
                physical, page = self._walk_host(host or (0, 0), address, write)
            part = min(size, page)
            if length and physical == start + length:
                length += part
            else:
                if length:
                    yield start, length
                start, length = physical, part
            address += part
            size -= part
        yield start, length

    def _page_table(self, pasid: int, address: int) -> tuple[int, int] | None:
        """(root, levels) of the table for this PASID, or None if its addresses are bus addresses."""
        if self.base is None:
            if pasid or self._required:
                raise HarnessFault("the device table's address is unknown: send device-table on the control socket")
            return None
        entry = _ENTRY.unpack(self.memory.read(self.base + self.bdf * _ENTRY.size, _ENTRY.size))
        valid = entry[0] & _DTE_VALID and entry[0] & _DTE_TRANSLATE and entry[0] & _DTE_GV
        if pasid == 0 and not (valid and entry[0] & _DTE_GIOV):
            return None
        if not valid:
            raise IommuFault(pasid, address, f"device table entry {entry[0]:#x} has no GCR3 table")
        root = (entry[0] >> 58 & 7) << 12 | (entry[1] >> 16 & 0xFFFF) << 15 | (entry[1] >> 43 & 0x1FFFFF) << 31
        for level in range(entry[0] >> 56 & 3, -1, -1):
            found = self._quad(root + (pasid >> 9 * level & 511) * 8)
            if not found & _PRESENT:
                raise IommuFault(pasid, address, "no such PASID in the GCR3 table")
            root = found & _ADDRESS
        return root, 4 + (entry[2] >> 54 & 3)

    def _walk(self, pasid: int, table: tuple[int, int], address: int, write: bool) -> tuple[int, int]:
        """(physical address, bytes to the end of its page) of one address."""
        root, levels = table
        for shift in range(12 + 9 * (levels - 1), 11, -9):
            entry = self._quad(root + (address >> shift & 511) * 8)
            if not entry & _PRESENT:
                raise IommuFault(pasid, address, f"page not present (entry for bit {shift} up)")
            if write and not entry & _WRITABLE:
                raise IommuFault(pasid, address, f"page is read-only (entry for bit {shift} up)")
            if shift == 12 or (entry & _HUGE and shift <= 30):
                page = 1 << shift
                offset = address & (page - 1)
                return (entry & _ADDRESS & ~(page - 1)) + offset, page - offset
            root = entry & _ADDRESS
        raise AssertionError("a page table has a last level")

    def _host_table(self) -> tuple[int, int] | None:
        """(root, levels) of the host page table, or None if the entry translates nothing by it."""
        if self.base is None:
            return None
        entry = self._quad(self.base + self.bdf * _ENTRY.size)
        levels = entry >> 9 & 7
        if not (entry & _DTE_VALID and entry & _DTE_TRANSLATE and levels):
            return None
        return entry & _ADDRESS, levels

    def _walk_host(self, table: tuple[int, int], address: int, write: bool) -> tuple[int, int]:
        """(physical address, bytes to the end of its page) of one address."""
        root, level = table
        if address >> 12 + 9 * level:
            raise IommuFault(0, address, f"beyond a host page table of {level} levels")
        while True:
            shift = 12 + 9 * (level - 1)
            entry = self._quad(root + (address >> shift & 511) * 8)
            if not entry & _PRESENT or not entry & (_WRITES if write else _READS):
                raise IommuFault(0, address, f"the host page table forbids it (entry {entry:#x} of level {level})")
            root, following = entry & _ADDRESS, entry >> 9 & 7
            if following == _OTHER_SIZE:
                ones = root >> 12
                shift = 13 + (~ones & ones + 1).bit_length() - 1  # the lowest 0 of the address is the size's bit
                root &= ~((1 << shift) - 1)
            if following in (_DEFAULT_SIZE, _OTHER_SIZE):
                offset = address & (1 << shift) - 1
                return root + offset, (1 << shift) - offset
            if following >= level:
                raise IommuFault(0, address, f"entry {entry:#x} of level {level} leads to level {following}")
            skipped = address >> 12 + 9 * following & (1 << 9 * (level - 1 - following)) - 1
            if skipped:
                raise IommuFault(0, address, f"levels are skipped whose bits are set (entry {entry:#x})")
            level = following

    def _quad(self, address: int) -> int:
        return int(_QUAD.unpack(self.memory.read(address, 8))[0])
