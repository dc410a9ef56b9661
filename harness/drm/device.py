# SPDX-License-Identifier: GPL-2.0-only
"""The amdxdna device as sysfs shows it: where its node is, and its runtime power state.

Sources: Documentation/ABI/testing/sysfs-devices-power; amdxdna_pm.c, Linux 7.3 (autosuspend after 5 s).
"""

from __future__ import annotations

import os
import time
from pathlib import Path

DRIVER = "amdxdna"


class NoDevice(Exception):
    """No accel device is bound to the driver."""


class Device:
    """One accel device. ``sys`` is its PCI device's folder, ``node`` the file that clients open."""

    def __init__(self, sys: Path, node: Path) -> None:
        self.sys = sys
        self.node = node

    @classmethod
    def find(cls, sysfs: Path = Path("/sys"), dev: Path = Path("/dev")) -> Device:
        """The first accel device whose driver is amdxdna. Raises NoDevice."""
        for entry in sorted((sysfs / "class/accel").glob("accel*")):
            driver = entry / "device/driver"
            if driver.is_symlink() and os.path.basename(os.readlink(driver)) == DRIVER:
                return cls((entry / "device").resolve(), dev / "accel" / entry.name)
        raise NoDevice(f"no accel device is bound to {DRIVER}")

    @property
    def address(self) -> str:
        """The PCI address, such as 0000:00:05.0."""
        return self.sys.name

    def power(self, name: str) -> str:
        """A file of the device's power folder, such as runtime_status."""
        return (self.sys / "power" / name).read_text().strip()

    def autosuspend_ms(self) -> int:
        """The autosuspend delay in milliseconds."""
        return int(self.power("autosuspend_delay_ms"))

    def set_autosuspend_ms(self, delay: int) -> None:
        """Change the autosuspend delay; 0 suspends as soon as nobody uses the device."""
        (self.sys / "power/autosuspend_delay_ms").write_text(str(delay))

    def suspend(self, timeout: float = 15.0) -> None:
        """Let the idle device suspend now, without waiting for its autosuspend delay.

        Raises TimeoutError when it is not suspended after ``timeout`` seconds: somebody holds a reference.
        """
        delay = self.autosuspend_ms()
        self.set_autosuspend_ms(0)
        try:
            deadline = time.monotonic() + timeout
            while self.power("runtime_status") != "suspended":
                if time.monotonic() > deadline:
                    raise TimeoutError(f"runtime_status is {self.power('runtime_status')} after {timeout:.0f} s")
                time.sleep(0.01)
        finally:
            self.set_autosuspend_ms(delay)
