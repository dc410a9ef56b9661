# SPDX-License-Identifier: GPL-2.0-only
"""The device in a sysfs of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.drm.device import Device, NoDevice


def make(root: Path, name: str, driver: str) -> Path:
    pci = root / f"devices/pci0000:00/0000:00:0{len(name)}.0"
    (pci / "power").mkdir(parents=True)
    (pci / "driver").symlink_to(root / "bus/pci/drivers" / driver)
    (pci / "power/runtime_status").write_text("active\n")
    (pci / "power/autosuspend_delay_ms").write_text("5000\n")
    accel = root / "class/accel" / name
    accel.mkdir(parents=True)
    (accel / "device").symlink_to(pci)
    return pci


def test_only_our_driver_counts(tmp_path: Path) -> None:
    make(tmp_path, "accel0", "other_driver")
    with pytest.raises(NoDevice):
        Device.find(tmp_path)
    pci = make(tmp_path, "accel10", "amdxdna")
    device = Device.find(tmp_path, Path("/dev"))
    assert (device.sys, device.node) == (pci, Path("/dev/accel/accel10"))
    assert device.address == "0000:00:07.0"


def test_suspend_restores_the_delay(tmp_path: Path) -> None:
    device = Device(make(tmp_path, "accel0", "amdxdna"), Path("/dev/null"))
    with pytest.raises(TimeoutError, match="active"):
        device.suspend(timeout=0.05)
    assert device.autosuspend_ms() == 5000
    (device.sys / "power/runtime_status").write_text("suspended\n")
    device.suspend(timeout=0.05)
    assert device.autosuspend_ms() == 5000
