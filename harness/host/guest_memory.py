# SPDX-License-Identifier: GPL-2.0-only
"""A guest's RAM: a memfd of ours, which QEMU maps and the emulated NPU reads and writes as a device would.

Since it is ours, it is saved and brought back without QEMU: only the pages that the guest has touched, at their places
in a sparse file. (QEMU's own way, mapped-ram, looks at every page: 5.5 s for 2 GiB instead of 0.2 s.)
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InfraError

_PIECE = 1 << 22
_PAGE = 4096


@dataclass(frozen=True)
class Proof:
    """What a saved memory is known by: its size in bytes, how many of them are no hole, and a CRC-32 over those and
    their places."""

    size: int
    data: int
    checksum: int


class GuestMemory:
    """``size`` bytes of zeros at first. Give ``fd`` to QEMU's process, and ``path`` to its command line."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.fd = os.memfd_create("guest-ram")
        os.truncate(self.fd, size)

    @property
    def path(self) -> str:
        """What a process that inherited ``fd`` opens."""
        return f"/proc/self/fd/{self.fd}"

    def save(self, file: Path) -> Proof:
        """Write what is no hole into ``file``. InfraError when the disk is full."""
        try:
            out = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.truncate(out, self.size)
                _save(self.fd, out, self.size)
            finally:
                os.close(out)
            return prove(file)
        except OSError as error:
            raise InfraError(
                f"cannot save the guest's memory in {file.parent}: {error.strerror}",
                hint="free some disk space: 'xdna-harness clean' empties the cache",
            ) from error

    def load(self, file: Path) -> None:
        """Read a saved memory into this one, which must be fresh. OSError when it cannot be read."""
        source = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            for start, end in _extents(source, os.fstat(source).st_size):
                while start < end:
                    os.lseek(self.fd, start, os.SEEK_SET)
                    sent = os.sendfile(self.fd, source, start, end - start)
                    if sent == 0:
                        break
                    start += sent
        finally:
            os.close(source)

    def close(self) -> None:
        """Give our hold on it up; QEMU keeps its own."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def prove(file: Path) -> Proof:
    """Read a saved memory once: about 1.5 GB/s from the page cache."""
    checksum = data = 0
    source = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(source).st_size
        for start, end in _extents(source, size):
            checksum = zlib.crc32(f"{start}-{end}:".encode(), checksum)
            for _, piece in _pieces(source, start, end):
                checksum = zlib.crc32(piece, checksum)
                data += len(piece)
    finally:
        os.close(source)
    return Proof(size, data, checksum)


def _save(source: int, target: int, size: int) -> None:
    """Copy what is no hole and not zero: a third of what a debug kernel touches is."""
    zeros = bytes(_PAGE)
    for start, end in _extents(source, size):
        for place, piece in _pieces(source, start, end):
            if piece == bytes(len(piece)):
                continue
            first: int | None = None
            for at in range(0, len(piece), _PAGE):
                if piece[at : at + _PAGE] != zeros:
                    first = at if first is None else first
                elif first is not None:
                    _write(target, piece[first:at], place + first)
                    first = None
            if first is not None:
                _write(target, piece[first:], place + first)


def _pieces(fd: int, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """A stretch of a file, as (place, bytes)."""
    while start < end and (piece := os.pread(fd, min(_PIECE, end - start), start)):
        yield start, piece
        start += len(piece)


def _write(target: int, data: bytes, place: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(target, view, place)
        view, place = view[written:], place + written


def _extents(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Where a file has data, as (start, end)."""
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole is left
            return
        at = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, at
