# SPDX-License-Identifier: GPL-2.0-only
"""What a guest has to do so that it can be saved, and after it was restored.

A restored guest has the clock and the random numbers of the moment in which it was saved: every restore would draw
the same ones.
"""

from __future__ import annotations

import fcntl
import os
import random
import time
from contextlib import suppress
from pathlib import Path

from harness.guest import modules

RNDRESEEDCRNG = 0x5207
"""_IO('R', 0x07), include/uapi/linux/random.h."""
RESCAN = Path("/sys/bus/pci/rescan")
DEVICES = Path("/sys/bus/pci/devices")
DRIVER = Path("/sys/bus/pci/drivers/amdxdna")
_POLL_SECONDS = 0.01


def thaw(now: float, entropy: bytes, sysfs: Path = Path("/sys")) -> dict[str, object]:
    """Set the clock (seconds since 1970) and draw fresh random numbers, the kernel's and Python's.

    Returns what proves which guest this is: the kernel's release, the driver's build-id ("" when it is not loaded),
    and the clock and a random number as they are now.
    """
    time.clock_settime(time.CLOCK_REALTIME, now)
    fd = os.open("/dev/urandom", os.O_RDWR | os.O_CLOEXEC)
    try:
        os.write(fd, entropy)
        fcntl.ioctl(fd, RNDRESEEDCRNG)
    finally:
        os.close(fd)
    random.seed(os.urandom(32))
    return {
        "release": os.uname().release,
        "build_id": modules.build_id(sysfs / "module/amdxdna/notes"),
        "time": time.time(),
        "random": [os.urandom(8).hex(), f"{random.getrandbits(64):016x}"],
    }


def settle(address: str, seconds: float, devices: Path = DEVICES) -> str:
    """Let the driver suspend its idle device at once, then with its old delay again: the runtime status at the end.

    A suspended device has no state but the driver's own: its next user boots the firmware. Waits at most ``seconds``.
    """
    power = devices / address / "power"
    delay = power / "autosuspend_delay_ms"
    before = delay.read_text()
    deadline = time.monotonic() + seconds
    delay.write_text("0")
    try:
        while (status := (power / "runtime_status").read_text().strip()) != "suspended":
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_SECONDS)
    finally:
        delay.write_text(before)
    return status


def settle_all(seconds: float, driver: Path = DRIVER) -> None:
    """The same for each device of the driver, as far as it can be had: what a test then says to firmware does not
    depend on what was there before it."""
    for path in sorted(driver.glob("*:*")):
        with suppress(OSError):
            settle(path.name, seconds, driver)


def rescan(path: Path = RESCAN) -> None:
    """Find the devices that were plugged while the guest was saved."""
    path.write_text("1")
