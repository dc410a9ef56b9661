# SPDX-License-Identifier: GPL-2.0-only
"""Reads patch mails."""
from __future__ import annotations
import re
_HEADER = re.compile(rb"(?:From |>From |[!-9;-~]+:)")
def has_headers(data: bytes) -> bool:
    """Whether ``data`` begins as a mail does; a bare diff or a diff under free text does not."""
    first = data.lstrip(b"\r\n").split(b"\n", 1)[0]
    return _HEADER.match(first) is not None and not first.startswith((b"diff ", b"--- ", b"Index: "))
