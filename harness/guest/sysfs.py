# SPDX-License-Identifier: GPL-2.0-only
"""Files of the kernel, /proc, /sys, debugfs: some may not be there, some take orders."""

from __future__ import annotations

import os


def order(path: str, text: str) -> None:
    """Write once, unbuffered: what the kernel says to it is an OSError of this call. No file is made."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def entries(folder: str) -> list[str]:
    """The names in a folder; none when it is not there."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def target(path: str) -> str:
    """Where a link points to; empty when it is not there."""
    try:
        return os.readlink(path)
    except OSError:
        return ""


def read(path: str) -> str:
    """A file's text; empty when it is not there."""
    try:
        with open(path, errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""
