# SPDX-License-Identifier: GPL-2.0-only
"""A machine's console, listened to for as long as a run takes: a command that prints it, or netconsole.

It goes to a file. Hostile input: what is shown of it has no terminal codes and is not longer than a reader's patience.
"""

from __future__ import annotations

import socket
import subprocess
import threading
from pathlib import Path

from harness.errors import UsageError
from harness.formats.terminal import plain
from harness.host import proc

SHOWN_BYTES = 1 << 20
MOST_BYTES = 1 << 28
"""A kernel that never stops talking must not fill our disk."""
LISTEN_SECONDS = 0.5

_AGAIN = """\
exec 3<&0
(cat <&3 >/dev/null; kill -KILL 0) &
while :; do
    (%s) 3<&-
    printf '\\n[xdna-harness: the command of this console ended with status %%d; once more]\\n' $?
    sleep 5
done"""
"""Its input is a pipe of ours that nobody writes to: it ends when we do, however that is, and then all of them do."""


class Console:
    """What is in the file ``path`` since a mark."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mark = 0

    def mark(self) -> None:
        """From now on."""
        self._mark = self._size()

    def since_mark(self) -> str:
        """As text; of very much, the end."""
        if not self.path.exists():
            return ""
        with self.path.open("rb") as stream:
            stream.seek(max(self._mark, self._size() - SHOWN_BYTES))
            return plain(stream.read())

    def _size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def close(self) -> None:
        """Listen no more. Safe to call twice."""


class CommandConsole(Console):
    """The standard output of a sh command, which is started again when it ends: a serial line's program, ``ipmitool sol
    activate``, ``tail -F``. Its standard input stays open and empty: some end where theirs does."""

    def __init__(self, command: str, path: Path) -> None:
        super().__init__(path)
        self._process: subprocess.Popen[bytes] | None = proc.spawn(
            ["sh", "-c", _AGAIN % command], log=path, keep_stdin=True
        )

    def close(self) -> None:
        if self._process is not None:
            proc.kill_group(self._process, grace=1.0)
            self._process = None


class NetConsole(Console):
    """Datagrams of the kernel's netconsole, at an address of this machine; ``source``: only those of this address (the
    kernel's sender is not proved by anything else). Port 0 takes a free one."""

    def __init__(self, address: str, port: int, path: Path, source: str = "") -> None:
        """UsageError: that address is not this machine's, or somebody listens there."""
        super().__init__(path)
        self.source = source
        self._socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((address, port))
        except OSError as error:
            self._socket.close()
            raise UsageError(
                f"cannot listen for netconsole at {address} port {port}: {error.strerror}",
                hint="name an address of this machine, and a port that is free",
            ) from error
        self._socket.settimeout(LISTEN_SECONDS)
        self.port = int(self._socket.getsockname()[1])
        self._ended = threading.Event()
        self._listener = threading.Thread(target=self._listen, name="netconsole", daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        with self.path.open("ab", buffering=0) as log:
            while not self._ended.is_set():
                try:
                    data, sender = self._socket.recvfrom(1 << 16)
                except TimeoutError:
                    continue
                except OSError:
                    return
                if self.source in ("", sender[0]) and log.tell() < MOST_BYTES:
                    log.write(data)

    def close(self) -> None:
        self._ended.set()
        self._listener.join(LISTEN_SECONDS * 4)
        self._socket.close()
