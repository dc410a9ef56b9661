# SPDX-License-Identifier: GPL-2.0-only
"""Configuration space: identity, BARs, capability lists as a PCI core walks them."""

from __future__ import annotations

import struct

import pytest

from harness.npu.generations import GENERATIONS, Generation
from harness.npu.pci import CONFIG_SIZE, ConfigSpace

NPU4 = GENERATIONS["npu4"]


def config(generation: Generation = NPU4, pasid: bool = True) -> ConfigSpace:
    return ConfigSpace(generation, pasid, lambda: None)


def word(space: ConfigSpace, offset: int, form: str = "<I") -> int:
    return int(struct.unpack(form, space.read(offset, struct.calcsize(form)))[0])


def capabilities(space: ConfigSpace) -> dict[int, int]:
    found, at = {}, space.read(0x34, 1)[0]
    while at:
        assert at % 4 == 0
        found[space.read(at, 1)[0]] = at
        at = space.read(at + 1, 1)[0]
    return found


def extended(space: ConfigSpace) -> dict[int, int]:
    found, at = {}, 0x100
    while at and word(space, at):
        found[word(space, at) & 0xFFFF] = at
        at = word(space, at) >> 20
    return found


@pytest.mark.parametrize(
    ("name", "device", "revision"),
    [("npu1", 0x1502, 0x00), ("npu4", 0x17F0, 0x10), ("npu5", 0x17F0, 0x11), ("npu6", 0x17F0, 0x20)],
)
def test_identity_is_what_the_driver_binds_to(name: str, device: int, revision: int) -> None:
    space = config(GENERATIONS[name])
    assert (word(space, 0, "<H"), word(space, 2, "<H"), space.read(8, 1)[0]) == (0x1022, device, revision)


@pytest.mark.parametrize("generation", GENERATIONS.values(), ids=GENERATIONS.keys())
def test_every_bar_tells_its_size(generation: Generation) -> None:
    space = config(generation)
    for bar, size in generation.bars.items():
        space.write(0x10 + 4 * bar, b"\xff" * 4)
        assert -(word(space, 0x10 + 4 * bar) & ~0xF) & 0xFFFFFFFF == size
    assert word(space, 0x10 + 4 * generation.mailbox.sram) & 0xF == 0xC


def test_the_capabilities_are_power_express_and_msix() -> None:
    space = config()
    found = capabilities(space)
    assert set(found) == {0x01, 0x10, 0x11}
    assert word(space, found[0x11] + 2, "<H") + 1 == NPU4.vectors
    assert word(space, found[0x10] + 4) & 1 << 28, "function-level reset"
    assert word(space, found[0x10] + 0x24) & 1 << 21, "End-End TLP prefix: PASID needs it"
    assert word(space, found[0x01] + 4, "<H") & 1 << 3, "No_Soft_Reset"


def test_ats_pri_and_pasid_are_there_unless_the_mode_is_without() -> None:
    found = extended(config())
    assert set(found) == {0x0F, 0x13, 0x1B}
    assert word(config(), found[0x1B] + 4, "<H") == 0x1006
    assert extended(config(pasid=False)) == {}


def test_read_only_bits_stay_and_control_bits_can_be_written() -> None:
    space = config()
    before = space.read(0, CONFIG_SIZE)
    space.write(0, b"\0\0\0\0")
    assert space.read(0, 4) == before[:4]
    space.write(4, struct.pack("<H", 0xFFFF))
    assert word(space, 4, "<H") == 0x0547
    pasid = extended(space)[0x1B]
    space.write(pasid + 6, struct.pack("<H", 1))
    assert word(space, pasid + 6, "<H") == 1
    space.reset()
    assert space.read(0, CONFIG_SIZE) == before


def test_flr_calls_back_and_reads_as_zero() -> None:
    resets: list[int] = []
    space = ConfigSpace(NPU4, True, lambda: resets.append(1))
    control = capabilities(space)[0x10] + 8
    space.write(control, struct.pack("<H", 0x8000 | 0x2810))
    assert resets == [1]
    assert word(space, control, "<H") == 0x2810
    space.write(control, struct.pack("<H", 0x2810))
    assert resets == [1]
