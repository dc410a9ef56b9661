# SPDX-License-Identifier: GPL-2.0-only
"""How much memory there is for guests."""

from __future__ import annotations

import re
from pathlib import Path


def free_megabytes(meminfo: Path = Path("/proc/meminfo")) -> int:
    """MemAvailable of this machine in MiB; 0 when the kernel does not tell."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.M)
    return int(found[1]) >> 10 if found else 0
