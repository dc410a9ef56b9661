# SPDX-License-Identifier: GPL-2.0-only
"""The client's memory as the device sees it on the bus: windows over files that the client passed."""

from __future__ import annotations

import bisect
import errno
import mmap
import os
from dataclasses import dataclass

from harness.vfio_user.wire import DMA_WRITEABLE, Refused


class DmaError(Exception):
    """The device touched a bus address that the client has not given it."""


@dataclass
class _File:
    """A client's file, mapped once however many windows it has (16384 for one heap chunk under
    intel-iommu).
    """

    view: mmap.mmap
    size: int
    windows: int = 0


@dataclass(frozen=True)
class _Window:
    start: int
    end: int
    writeable: bool
    key: tuple[int, int] | None
    file: _File | None
    offset: int


_NOWHERE = _Window(0, 0, False, None, None, 0)


class GuestMemory:
    """Bus address to bytes. Windows do not overlap."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._windows: list[_Window] = []
        self._files: dict[tuple[int, int], _File] = {}
        self._last = _NOWHERE

    def __len__(self) -> int:
        return len(self._windows)

    def windows(self) -> list[tuple[int, int, bool]]:
        """(bus address, size, mappable) of every window, by address."""
        return [(w.start, w.end - w.start, w.file is not None) for w in self._windows]

    def map(self, address: int, size: int, fd: int | None, offset: int, flags: int) -> None:
        """Add a window. Takes ``fd`` (and closes it). Without one, the window is known but cannot be
        accessed.

        Raises Refused: EEXIST over an existing window, EINVAL for a size or a file that cannot be.
        """
        try:
            self._check(address, size)
            key, file = self._open(fd, offset, size) if fd is not None else (None, None)
        finally:
            if fd is not None:
                os.close(fd)
        at = bisect.bisect_left(self._starts, address)
        self._starts.insert(at, address)
        window = _Window(address, address + size, bool(flags & DMA_WRITEABLE), key, file, offset)
        self._windows.insert(at, window)

    def _check(self, address: int, size: int) -> None:
        if size == 0 or address + size > 1 << 64:
            raise Refused(errno.EINVAL, f"DMA window at {address:#x} of {size:#x} bytes")
        at = bisect.bisect_right(self._starts, address)
        before = at > 0 and self._windows[at - 1].end > address
        if before or (at < len(self._starts) and self._starts[at] < address + size):
            raise Refused(errno.EEXIST, f"DMA window at {address:#x} of {size:#x} bytes overlaps another")

    def _open(self, fd: int, offset: int, size: int) -> tuple[tuple[int, int], _File]:
        try:
            status = os.fstat(fd)
            key = (status.st_dev, status.st_ino)
            file = self._files.get(key)
            if file is None:
                file = _File(_map_whole(fd, status.st_size), status.st_size)
        except (OSError, ValueError) as error:
            raise Refused(errno.EINVAL, f"the DMA window's file cannot be mapped: {error}") from error
        if offset + size > file.size:
            if not file.windows:
                file.view.close()
            raise Refused(errno.EINVAL, f"DMA window at file offset {offset:#x} leaves its file")
        file.windows += 1
        self._files[key] = file
        return key, file

    def unmap(self, address: int, size: int) -> None:
        """Remove all windows that lie in the range. Raises Refused(EINVAL) if one lies in it only partly.

        The protocol wants the exact range of a window; QEMU with a virtual IOMMU also sends one large
        range over many windows, and ranges with none, as it does to the kernel's VFIO.
        """
        end = address + size
        at = bisect.bisect_left(self._starts, address)
        if at > 0 and self._windows[at - 1].end > address:
            raise Refused(errno.EINVAL, f"unmapping {address:#x} of {size:#x} bytes would split a window")
        last = bisect.bisect_left(self._starts, end)
        if last > at and self._windows[last - 1].end > end:
            raise Refused(errno.EINVAL, f"unmapping {address:#x} of {size:#x} bytes would split a window")
        for window in self._windows[at:last]:
            self._release(window)
        del self._windows[at:last]
        del self._starts[at:last]

    def clear(self) -> None:
        """Forget everything."""
        for window in self._windows:
            self._release(window)
        self._windows.clear()
        self._starts.clear()

    def _release(self, window: _Window) -> None:
        self._last = _NOWHERE
        if window.file is None or window.key is None:
            return
        window.file.windows -= 1
        if not window.file.windows:
            window.file.view.close()
            del self._files[window.key]

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes at a bus address. Raises DmaError."""
        window = self._last
        if not (window.start <= address and address + size <= window.end):
            window = self._find(address)
            if address + size > window.end:
                part = window.end - address
                return self.read(address, part) + self.read(window.end, size - part)
        at = window.offset + address - window.start
        return window.file.view[at : at + size]  # type: ignore[union-attr]  # _find gives windows with a file only

    def write(self, address: int, data: bytes) -> None:
        """Store ``data`` at a bus address. Raises DmaError."""
        while data:
            window = self._find(address)
            if not window.writeable:
                raise DmaError(f"bus address {address:#x} is read-only")
            part = min(len(data), window.end - address)
            at = window.offset + address - window.start
            window.file.view[at : at + part] = data[:part]  # type: ignore[union-attr]
            address += part
            data = data[part:]

    def _find(self, address: int) -> _Window:
        at = bisect.bisect_right(self._starts, address) - 1
        window = self._windows[at] if at >= 0 else _NOWHERE
        if not window.start <= address < window.end:
            raise DmaError(f"bus address {address:#x} is not mapped")
        if window.file is None:
            raise DmaError(f"bus address {address:#x} was mapped without a file descriptor")
        self._last = window
        return window


def _map_whole(fd: int, size: int) -> mmap.mmap:
    try:
        return mmap.mmap(fd, size)
    except PermissionError:
        return mmap.mmap(fd, size, prot=mmap.PROT_READ)
