# SPDX-License-Identifier: GPL-2.0-only
"""The first sectors of a disk that a BIOS boots: GRUB's, and a table with one partition.

GRUB's boot sector loads what begins in the next sector unless it is told otherwise, and its core knows its own length;
so nothing has to be patched into either (GRUB, grub-core/boot/i386/pc/boot.S and diskboot.S).
"""

from __future__ import annotations

import struct

SECTOR = 512
_SIGNATURE = 440
_LINUX = 0x83
_NO_CHS = b"\xfe\xff\xff"
"""Cylinder, head and sector that say: ask the numbers behind."""


def boot_sectors(boot: bytes, core: bytes, disk: int, start: int, sectors: int) -> bytes:
    """What stands before sector ``start``, where the only partition begins; it has ``sectors`` sectors and is active.
    ``disk`` is the disk's signature of 32 bits, which PARTUUID= is made of.

    Raises ValueError when GRUB's parts do not fit.
    """
    if len(boot) != SECTOR or len(core) > (start - 1) * SECTOR:
        raise ValueError(f"a boot sector of {len(boot)} bytes and a core of {len(core)} before sector {start}")
    entry = struct.pack("<B3sB3sII", 0x80, _NO_CHS, _LINUX, _NO_CHS, start, sectors)
    return boot[:_SIGNATURE] + struct.pack("<IH", disk, 0) + entry + bytes(3 * len(entry)) + b"\x55\xaa" + core
