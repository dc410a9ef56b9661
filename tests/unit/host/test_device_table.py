# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

import pytest

from harness.errors import InfraError
from harness.host import device_table
from harness.host.npu_control import NpuControl
from harness.host.vm import DEVICE_TABLE_REGISTER


class Machine:
    """A monitor of a machine that reboots: what its IOMMU's register says, look by look; then QEMU is gone."""

    def __init__(self, bases: list[int]) -> None:
        self.bases = bases
        self.closed = False

    def read_physical(self, address: int) -> int:
        assert address == DEVICE_TABLE_REGISTER
        if not self.bases:
            raise InfraError("QEMU is gone")
        return self.bases.pop(0)

    def close(self) -> None:
        self.closed = True


class Npu:
    def __init__(self) -> None:
        self.told: list[int] = []

    def request(self, command: str, **arguments: Any) -> None:
        assert command == "device-table"
        self.told.append(arguments["base"])


def test_each_boot_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_table, "FOLLOW_SECONDS", 0.001)
    size = 0x1FF  # the register's low bits are the table's size
    machine, npu = Machine([0, 0x1000 | size, 0x1000 | size, 0, 0x1000 | size, 0x7F000 | size]), Npu()
    monkeypatch.setattr(device_table, "Monitor", lambda path: machine)
    device_table.follow(Path("qmp"), cast(NpuControl, npu), threading.Event())
    assert npu.told == [0x1000, 0x1000, 0x7F000], "reset, the same place again, kexec into another"


def test_it_ends_when_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, machine = threading.Event(), Machine([0x1000])
    ended.set()
    monkeypatch.setattr(device_table, "Monitor", lambda path: machine)
    device_table.follow(Path("qmp"), cast(NpuControl, Npu()), ended)
    assert machine.bases == [0x1000]
    assert machine.closed
