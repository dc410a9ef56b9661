# SPDX-License-Identifier: GPL-2.0-only
"""Take the driver from its device, and give it back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.drm.device import Device
from harness.guest.expect import eventually

DRIVER = Path("/sys/bus/pci/drivers/amdxdna")
GONE_SECONDS = 20.0
"""A command that hangs is given 2 s, a firmware that is silent 5 s."""


@contextmanager
def unbound(device: Device) -> Iterator[None]:
    """Take the driver from the device for a while; it must come off, and back, in time. Files must be closed in
    between: an open one keeps the number of its device node."""
    started = time.monotonic()
    (DRIVER / "unbind").write_text(device.address)
    try:
        assert time.monotonic() - started < GONE_SECONDS, "the driver came off late"
        yield
    finally:
        (DRIVER / "bind").write_text(device.address)
        eventually(device.node.exists, "the device node is back")
