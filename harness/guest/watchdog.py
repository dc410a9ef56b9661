# SPDX-License-Identifier: GPL-2.0-only
"""The hardware watchdog, fed by a process that lives (Documentation/watchdog/watchdog-api.rst)."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path

DEVICE = Path("/dev/watchdog")
SETTIMEOUT = 0xC0045706  # _IOWR('W', 6, int), linux/watchdog.h


class Watchdog:
    """Armed as soon as ``order`` is there: a file with seconds. It is fed four times as often as it would bite."""

    def __init__(self, order: Path, device: Path = DEVICE) -> None:
        self._order = order
        self._device = device
        self._fd = -1
        self._seconds = 0
        self._fed = 0.0
        self._refused = False

    def feed(self) -> None:
        """If it is time. One that cannot be had is said once; the machine then only loses this net."""
        if self._fd < 0:
            self._arm()
        elif time.monotonic() - self._fed > self._seconds / 4:
            self._fed = time.monotonic()
            with suppress(OSError):
                os.write(self._fd, b"\0")

    def _arm(self) -> None:
        if self._refused or not self._order.exists():
            return
        try:
            wanted = int(self._order.read_text())
            self._fd = os.open(self._device, os.O_WRONLY | os.O_CLOEXEC)
            self._seconds = wanted
            self._seconds = struct.unpack("i", fcntl.ioctl(self._fd, SETTIMEOUT, struct.pack("i", wanted)))[0]
        except (OSError, ValueError) as error:
            self._refused = self._fd < 0
            print(f"the watchdog: {error}", file=sys.stderr)
        self._fed = time.monotonic()

    def disarm(self) -> None:
        """The magic close. One that cannot be stopped any more bites, which is a reboot."""
        if self._fd >= 0:
            with suppress(OSError):
                os.write(self._fd, b"V")
            os.close(self._fd)
            self._fd = -1
