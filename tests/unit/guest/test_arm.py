# SPDX-License-Identifier: GPL-2.0-only
"""A watchdog that is armed, and stopped where its machine did not leave; the kernel's files are played."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
from pathlib import Path

import pytest

from harness.guest import arm

NAME, OTHER, BUSY = "0000:00:0b.0", "0000:00:0a.0", "0000:00:01.0"


class Bus:
    """A PCI bus with a watchdog, a device that no driver is for, and one that has a driver."""

    def __init__(self, top: Path) -> None:
        self.driver = top / "bus/pci/drivers/i6300esb"
        self.node = top / "dev/watchdog0"
        for folder in (self.driver, top / "bus/pci/devices", top / "class/watchdog0", top / "dev"):
            folder.mkdir(parents=True)
        for name in (NAME, OTHER, BUSY):
            (top / "devices" / name).mkdir(parents=True)
            (top / "bus/pci/devices" / name).symlink_to(top / "devices" / name)
        (top / "devices" / BUSY / "driver").symlink_to(top / "elsewhere")
        (top / "elsewhere").mkdir()
        (top / "module/i6300esb/drivers").mkdir(parents=True)
        (top / "module/i6300esb/drivers/pci:i6300esb").symlink_to(self.driver)
        (top / "class/watchdog0/identity").write_text("i6300esb")
        (top / "class/watchdog0/device").symlink_to(top / "devices" / NAME)
        self.node.touch()
        self.device = top / "devices" / NAME
        self.written: list[tuple[str, str]] = []

    def write(self, path: str, text: str) -> None:
        """As the kernel does: a driver takes only its own."""
        self.written.append((os.path.basename(path), text))
        link = self.driver / NAME
        if path.endswith("/bind"):
            if text != NAME:
                raise OSError(errno.ENODEV, "No such device")
            link.symlink_to(self.device)
        elif path.endswith("/unbind"):
            link.unlink()


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bus:
    found = Bus(tmp_path)
    monkeypatch.setattr(arm, "MODULES", str(tmp_path / "module"))
    monkeypatch.setattr(arm, "CLASS", str(tmp_path / "class"))
    monkeypatch.setattr(arm, "DEVICES", str(tmp_path / "dev"))
    monkeypatch.setattr(arm, "write", found.write)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: None)
    monkeypatch.setattr(fcntl, "ioctl", lambda fd, order, seconds: seconds)
    return found


def test_armed_stopped_and_armed_again(bus: Bus) -> None:
    (bus.driver / NAME).symlink_to(bus.device)
    assert arm.main(450, "i6300esb") == "armed for 450 s"
    assert arm.main(0, "i6300esb") == "stopped"
    assert bus.node.read_bytes() == b"V"
    assert bus.written == [("nowayout", "1"), ("unbind", NAME), ("bind", OTHER), ("bind", NAME)]
    assert (bus.driver / NAME).exists(), "for whoever wants it now"
    assert arm.main(450, "i6300esb") == "armed for 450 s"


def test_one_that_was_left_armed_is_armed_anew(bus: Bus) -> None:
    """The machine was told to leave, and did not, and nobody could stop it."""
    assert arm.main(450, "i6300esb") == "armed for 450 s"
    assert bus.written[:2] == [("bind", OTHER), ("bind", NAME)]


def test_a_machine_without_its_device_is_told(bus: Bus) -> None:
    (bus.device.parents[1] / "bus/pci/devices" / NAME).unlink()
    with pytest.raises(SystemExit, match="i6300esb drives no device"):
        arm.main(450, "i6300esb")
