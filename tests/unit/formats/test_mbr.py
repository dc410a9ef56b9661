# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import struct

import pytest

from harness.formats.mbr import SECTOR, boot_sectors


def test_one_active_partition_behind_grub() -> None:
    boot = bytes([0xEB]) * SECTOR
    head = boot_sectors(boot, b"CORE" * 300, 0x1234ABCD, 2048, 8_000_000)
    assert head[:440] == boot[:440], "GRUB's code"
    assert head[440:446] == bytes.fromhex("cdab34120000")
    status, kind, start, sectors = struct.unpack_from("<B3xB3xII", head, 446)
    assert (status, kind, start, sectors) == (0x80, 0x83, 2048, 8_000_000)
    assert head[462:510] == bytes(48), "no other partition"
    assert head[510:512] == b"\x55\xaa"
    assert head[512:] == b"CORE" * 300, "where the boot sector looks for it"


@pytest.mark.parametrize(("boot", "core"), [(511, 100), (512, 2047 * SECTOR + 1)])
def test_what_does_not_fit_is_refused(boot: int, core: int) -> None:
    with pytest.raises(ValueError, match="before sector 2048"):
        boot_sectors(bytes(boot), bytes(core), 1, 2048, 1)
