# SPDX-License-Identifier: GPL-2.0-only
"""The choice between KVM and TCG, and the ROM that measures."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from harness.host import accel
from harness.host.accel import Accelerator, choose, rom
from harness.host.qemu import Qemu
from harness.host.store import Store

QEMU = Qemu(("qemu",), "11.1.3", "the system's", "k")


@pytest.mark.parametrize(
    ("kvm", "tcg", "name", "reason"),
    [
        (3e9, 6e8, "kvm", "kvm: 5.0 times as fast as tcg"),
        (1e6, 5e8, "tcg", "tcg: KVM is there but 500 times slower"),
        (0.0, 5e8, "tcg", "tcg: KVM is there but its guest never got anywhere"),
    ],
)
def test_the_faster_one_is_taken(kvm: float, tcg: float, name: str, reason: str) -> None:
    chosen = choose(kvm, tcg)
    assert (chosen.name, chosen.reason) == (name, reason)


def test_without_kvm_the_reason_is_told() -> None:
    assert choose(None, None, "there is no /dev/kvm").reason == "tcg: there is no /dev/kvm"


@pytest.mark.parametrize("name", ["kvm", "tcg"])
def test_the_hypervisor_bit_is_always_off(name: str) -> None:
    words = Accelerator(name, "", None, None).argv
    assert "-hypervisor" in words[words.index("-cpu") + 1].split(",")


def test_it_is_measured_once_per_boot_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"tcg": [4e8], "kvm": [2e6]}
    monkeypatch.setattr(accel, "rate", lambda _, one, limit: rates[one.name].pop())
    monkeypatch.setattr(accel, "_no_kvm", lambda: "")
    first = accel.measure(QEMU, Store(tmp_path))
    assert (first.name, first.kvm_rate, first.tcg_rate) == ("tcg", 2e6, 4e8)
    assert accel.measure(QEMU, Store(tmp_path)) == first


def entry(image: bytes, table: int, index: int) -> int:
    found: int = struct.unpack_from("<Q", image, (table & 0xFFFF) + 8 * index)[0]
    return found


@pytest.mark.parametrize("address", [accel._COUNTER, 0xFFFF5000, 0xFFFF4008])
def test_the_rom_maps_what_it_uses_to_itself(address: int) -> None:
    """Walk its page tables as a processor would."""
    image = rom()
    table = accel._ROM
    for shift in (39, 30, 21):
        found = entry(image, table, address >> shift & 0x1FF)
        assert found & 0x21 == 0x21, "present, and marked as accessed since the ROM cannot be written"
        table = found & ~0xFFF
    assert found & 0x80
    assert table == address & ~0x1FFFFF


def test_the_rom_starts_at_the_code() -> None:
    image = rom()
    assert len(image) == 0x10000
    (offset,) = struct.unpack_from("<h", image, 0xFFF1)
    assert image[0xFFF0] == 0xE9
    assert 0xFFF3 + offset == 0xFF00
    jump = image.index(bytes.fromhex("66ea"), 0xFF00)
    target, selector = struct.unpack_from("<IH", image, jump + 2)
    assert image[target & 0xFFFF] == 0xB9
    assert entry(image, 0x4000 + selector, 0) >> 53 & 1, "a 64-bit code segment"


def test_the_note_is_plain_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "_no_kvm", lambda: "there is no /dev/kvm")
    accel.measure(QEMU, Store(tmp_path))
    (note,) = (tmp_path / "prefixes").glob("accel-*.json")
    assert json.loads(note.read_text())["name"] == "tcg"
