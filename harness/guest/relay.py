# SPDX-License-Identifier: GPL-2.0-only
"""Standard input and output <-> HOME/port, the keeper's socket: ``python3 -m harness.guest.relay HOME``."""

from __future__ import annotations

import os
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path

_PIECE = 1 << 16


def main(home: Path) -> int:
    """Copy both ways, neither of which waits for the other, until one is over: 0; 1 when there is no keeper."""
    keeper = socket.socket(socket.AF_UNIX)
    try:
        keeper.connect(str(home / "port"))
    except OSError as error:
        print(f"no keeper: {error.strerror}", file=sys.stderr)
        return 1
    over = threading.Event()
    for ends in ((0, keeper.fileno()), (keeper.fileno(), 1)):
        threading.Thread(target=_copy, args=(*ends, over), daemon=True).start()
    over.wait()
    return 0


def _copy(source: int, sink: int, over: threading.Event) -> None:
    with suppress(OSError):
        while piece := os.read(source, _PIECE):
            while piece:
                piece = piece[os.write(sink, piece) :]
    over.set()


if __name__ == "__main__":
    status = main(Path(sys.argv[1]))
    sys.stderr.flush()
    os._exit(status)  # a thread may wait for input that never comes
