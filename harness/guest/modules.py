# SPDX-License-Identifier: GPL-2.0-only
"""Load kernel modules, and prove which build was loaded."""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass
from pathlib import Path

_SYS_FINIT_MODULE = 313
_NT_GNU_BUILD_ID = 3
_NOTE_HEADER = struct.Struct("<III")

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Loaded:
    """A module's name as the kernel knows it, and its build-id in hexadecimal ("" when it has none)."""

    name: str
    build_id: str


def load(path: Path, parameters: str = "", sysfs: Path = Path("/sys")) -> Loaded:
    """finit_module(2). Raises OSError with the kernel's errno; the kernel's log says more."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        result: int = _libc.syscall(
            ctypes.c_long(_SYS_FINIT_MODULE), ctypes.c_int(fd), parameters.encode(), ctypes.c_int(0)
        )
    finally:
        os.close(fd)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"loading {path.name}: {os.strerror(number)}")
    name = path.name.partition(".")[0].replace("-", "_")
    return Loaded(name, build_id(sysfs / "module" / name / "notes"))


def build_id(notes: Path) -> str:
    """The GNU build-id among a module's ELF notes, "" when there is none."""
    for entry in sorted(notes.iterdir()) if notes.is_dir() else ():
        found = parse_build_id(entry.read_bytes())
        if found:
            return found
    return ""


def parse_build_id(data: bytes) -> str:
    """The build-id in a note section: headers of three words, name and description padded to 4 bytes."""
    offset = 0
    while offset + _NOTE_HEADER.size <= len(data):
        name_size, size, kind = _NOTE_HEADER.unpack_from(data, offset)
        start = offset + _NOTE_HEADER.size
        body = start + (name_size + 3 & ~3)
        if kind == _NT_GNU_BUILD_ID and data[start : start + name_size] == b"GNU\0":
            return data[body : body + size].hex()
        offset = body + (size + 3 & ~3)
    return ""
