# SPDX-License-Identifier: GPL-2.0-only
"""A device region that client and device share: a memfd that both map, so the guest's accesses cost no
message.
"""

from __future__ import annotations

import mmap
import os


class SharedRegion:
    """``size`` bytes of anonymous memory, mapped here as ``view`` and offered to the client as ``fd``."""

    def __init__(self, name: str, size: int) -> None:
        self.size = size
        self.fd = os.memfd_create(name)
        os.ftruncate(self.fd, size)
        self.view = mmap.mmap(self.fd, size)

    def zero(self) -> None:
        self.view[:] = bytes(self.size)

    def close(self) -> None:
        self.view.close()
        os.close(self.fd)
