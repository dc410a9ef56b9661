# SPDX-License-Identifier: GPL-2.0-only
"""Files of the kernel that take orders: /proc/sys, /sys, debugfs."""

from __future__ import annotations

import os


def order(path: str, text: str) -> None:
    """Write once, unbuffered: what the kernel says to it is an OSError of this call. No file is made."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
