# SPDX-License-Identifier: GPL-2.0-only
"""A listening unix socket: one that we make, or one that who started us made and handed over.

With the latter nobody has to wait for this process to come up: its clients are connected before it runs.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress

HANDED_OVER = "fd:"
"""Before the number of a file descriptor; all else is a path."""
BACKLOG = 8


class Listener:
    """Accepts on ``where``: a path, or ``fd:N``. OSError: the path cannot be bound, or N is no socket."""

    def __init__(self, where: str) -> None:
        self._path = "" if where.startswith(HANDED_OVER) else where
        if self._path:
            with suppress(FileNotFoundError):
                os.unlink(self._path)
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.bind(self._path)
            self._socket.listen(BACKLOG)
        else:
            self._socket = socket.socket(fileno=int(where.removeprefix(HANDED_OVER)))

    def fileno(self) -> int:
        return self._socket.fileno()

    def accept(self) -> socket.socket:
        return self._socket.accept()[0]

    def close(self) -> None:
        """Stop listening; a path of ours is removed."""
        self._socket.close()
        if self._path:
            with suppress(FileNotFoundError):
                os.unlink(self._path)
