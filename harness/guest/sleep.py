# SPDX-License-Identifier: GPL-2.0-only
"""Let all devices of the system suspend and resume, as on the way to sleep; the system itself stays awake.

Source: Documentation/power/basic-pm-debugging.rst; kernel/power/suspend.c, suspend_test(). Needs root.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

POWER = Path("/sys/power")
DELAY = Path("/sys/module/suspend/parameters/pm_test_delay")
PORT = Path("/sys/bus/virtio/drivers/virtio_console")
CONSOLE = Path("/dev/tty63")


def open_console() -> None:
    """Make the virtual console that a suspend switches to, where the kernel has such. Its device files stay for ever:
    made by the first suspend, they would be that test's leak (kernel/power/console.c, SUSPEND_CONSOLE)."""
    with suppress(OSError):
        os.close(os.open(CONSOLE, os.O_RDWR | os.O_NOCTTY))


def suspend_devices(seconds: int = 0) -> None:
    """Suspend all devices, wait for ``seconds``, resume them. Raises OSError when a device refuses."""
    DELAY.write_text(str(seconds))
    (POWER / "pm_test").write_text("devices")
    try:
        with _port_away():
            (POWER / "state").write_text("freeze")
    finally:
        (POWER / "pm_test").write_text("none")


@contextmanager
def _port_away() -> Iterator[None]:
    """The port's driver leaves it meanwhile: when it resumes it asks whether the host is there before it can hear the
    answer, and nothing can be written ever after (drivers/char/virtio_console.c, virtcons_restore(), Linux 7.3)."""
    devices = [entry.name for entry in PORT.glob("virtio*")]
    for device in devices:
        (PORT / "unbind").write_text(device)
    try:
        yield
    finally:
        for device in devices:
            (PORT / "bind").write_text(device)
