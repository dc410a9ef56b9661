# SPDX-License-Identifier: GPL-2.0-only
"""Initramfs archives: cpio "newc" (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).

Archives may follow each other in one initrd; tables for the kernel come first, uncompressed. The bytes
depend on the entries alone: owner root, time 0.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass

_MAGIC = b"070701"
_TRAILER = "TRAILER!!!"
_BLOCK = 512


@dataclass(frozen=True)
class Entry:
    """One member: path without leading slash, st_mode with the file type, contents, major and minor of a
    device.
    """

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def file(name: str, data: bytes, mode: int = 0o644) -> Entry:
    return Entry(name, stat.S_IFREG | mode, data)


def directory(name: str, mode: int = 0o755) -> Entry:
    return Entry(name, stat.S_IFDIR | mode)


def symlink(name: str, target: str) -> Entry:
    return Entry(name, stat.S_IFLNK | 0o777, target.encode())


def character_device(name: str, major: int, minor: int, mode: int = 0o600) -> Entry:
    return Entry(name, stat.S_IFCHR | mode, device=(major, minor))


def archive(entries: Iterable[Entry]) -> bytes:
    """The archive, padded to 512 bytes. Directories must come before what they hold: the kernel makes none
    by itself.

    Raises ValueError for a path that cpio cannot hold or that would leave the root.
    """
    parts = [_member(number, entry) for number, entry in enumerate(entries, 1)]
    parts.append(_pack(0, _TRAILER, 0, b"", (0, 0)))
    whole = b"".join(parts)
    return whole + bytes(-len(whole) % _BLOCK)


def _member(number: int, entry: Entry) -> bytes:
    bad = not entry.name or entry.name == _TRAILER or "\0" in entry.name
    if bad or entry.name.startswith("/") or ".." in entry.name.split("/"):
        raise ValueError(f"cpio member {entry.name!r}")
    return _pack(number, entry.name, entry.mode, entry.data, entry.device)


def _pack(inode: int, name: str, mode: int, data: bytes, device: tuple[int, int]) -> bytes:
    path = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (inode, mode, 0, 0, links, 0, len(data), 0, 0, *device, len(path), 0)
    header = _MAGIC + b"".join(b"%08X" % value for value in fields) + path
    return _padded(header) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
