# SPDX-License-Identifier: GPL-2.0-only
"""Folders for sockets, with short paths; what a killed process of ours left is cleared away by the next one."""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
from pathlib import Path

_NAME = re.compile(r"xdna-(\d+)-.+")


def socket_folder() -> Path:
    """A new folder of this process's own."""
    return Path(tempfile.mkdtemp(prefix=f"xdna-{os.getpid()}-"))


def sweep() -> list[Path]:
    """Remove this user's folders whose process is gone: what was removed."""
    found = [path for path in Path(tempfile.gettempdir()).glob("xdna-*") if _orphaned(path)]
    for path in found:
        shutil.rmtree(path, ignore_errors=True)
    return found


def _orphaned(path: Path) -> bool:
    name = _NAME.fullmatch(path.name)
    try:
        return name is not None and path.lstat().st_uid == os.geteuid() and not Path(f"/proc/{name[1]}").exists()
    except OSError:
        return False


def discard(folder: Path) -> None:
    """Delete a folder of ours, as far as it goes."""
    shutil.rmtree(folder, ignore_errors=True)


def listening(path: Path) -> socket.socket:
    """A unix socket that listens at ``path``; what was there is gone."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener
