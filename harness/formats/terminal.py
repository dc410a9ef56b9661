# SPDX-License-Identifier: GPL-2.0-only
"""What was meant for a terminal, as text."""

from __future__ import annotations

import re

_CODES = re.compile(r"\x1b\[[0-9;?!]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\r")


def plain(data: bytes) -> str:
    """Without control sequences and carriage returns; what is no UTF-8 is replaced. Hostile input all the same."""
    return _CODES.sub("", data.decode(errors="replace"))
