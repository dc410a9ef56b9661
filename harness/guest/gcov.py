# SPDX-License-Identifier: GPL-2.0-only
"""What a driver that counts its lines has counted since its counts were reset (Documentation/dev-tools/gcov.rst)."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path

from harness.guest.sysfs import order

FOLDER = "sys/kernel/debug/gcov"


def reset(root: str = "/") -> None:
    """All counts are 0 from now on. FileNotFoundError: this kernel counts nothing."""
    order(f"{root}{FOLDER}/reset", "1")


def counts(root: str = "/") -> dict[str, str]:
    """By the name of a .gcda file its content, deflated, in base64. Reading it resets nothing."""
    found = sorted(Path(root, FOLDER).rglob("*.gcda"))
    return {path.name: base64.b64encode(zlib.compress(path.read_bytes(), 1)).decode() for path in found}
