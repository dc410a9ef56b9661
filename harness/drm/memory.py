# SPDX-License-Identifier: GPL-2.0-only
"""mmap(2) as the driver's users need it: at a chosen address, inside an area that was reserved before.

Python's own mmap module cannot say MAP_FIXED.
"""

from __future__ import annotations

import ctypes
import mmap as flags_of_mmap
import os

from harness.drm.calls import MADE, answered

PAGE = 4096
PROT_NONE = 0
PROT_READ = flags_of_mmap.PROT_READ
PROT_RW = flags_of_mmap.PROT_READ | flags_of_mmap.PROT_WRITE
MAP_SHARED = flags_of_mmap.MAP_SHARED
MAP_PRIVATE = flags_of_mmap.MAP_PRIVATE
MAP_ANONYMOUS = flags_of_mmap.MAP_ANONYMOUS
MAP_FIXED = 0x10
MAP_NORESERVE = 0x4000
MADV_DONTNEED = 4
MADV_HUGEPAGE = 14
MADV_POPULATE_WRITE = 23
MREMAP_MAYMOVE = 1
_MCL_CURRENT = 1

_FAILED = 2**64 - 1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int64,
]
_libc.mmap.restype = ctypes.c_size_t
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.munmap.restype = ctypes.c_int
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.mprotect.restype = ctypes.c_int
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.madvise.restype = ctypes.c_int
_libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
_libc.mremap.restype = ctypes.c_size_t


def try_mmap(address: int, size: int, prot: int, flags: int, fd: int, offset: int) -> int:
    """mmap(2): the address of the mapping, or the negative errno. Does not raise."""
    MADE["mmap"] += 1
    result: int = _libc.mmap(address or None, size, prot, flags, fd, offset)
    result = -ctypes.get_errno() if result == _FAILED else result
    answered("mmap", result)
    return result


def mmap(address: int, size: int, prot: int, flags: int, fd: int = -1, offset: int = 0) -> int:
    """mmap(2): the address of the mapping. Raises OSError."""
    result = try_mmap(address, size, prot, flags, fd, offset)
    if result < 0:
        raise OSError(-result, f"{os.strerror(-result)} (mmap of {size:#x} bytes)")
    return result


def munmap(address: int, size: int) -> None:
    """munmap(2). Raises OSError."""
    MADE["munmap"] += 1
    _succeeded(_libc.munmap(address, size), "munmap", size)


def mprotect(address: int, size: int, prot: int) -> None:
    """mprotect(2). Raises OSError."""
    MADE["mprotect"] += 1
    _succeeded(_libc.mprotect(address, size, prot), "mprotect", size)


def madvise(address: int, size: int, advice: int) -> None:
    """madvise(2). Raises OSError."""
    MADE["madvise"] += 1
    _succeeded(_libc.madvise(address, size, advice), "madvise", size)


def lock_all() -> None:
    """mlockall(2): what this process has mapped now stays in memory. Raises OSError."""
    _succeeded(_libc.mlockall(_MCL_CURRENT), "mlockall", 0)


def unlock_all() -> None:
    """munlockall(2)."""
    _libc.munlockall()


def mremap(address: int, size: int, new_size: int) -> int:
    """mremap(2), which may move the mapping: its new address. Raises OSError."""
    MADE["mremap"] += 1
    result: int = _libc.mremap(address, size, new_size, MREMAP_MAYMOVE)
    _succeeded(-1 if result == _FAILED else 0, "mremap", size)
    return result


def _succeeded(result: int, call: str, size: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)} ({call} of {size:#x} bytes)")


def reserve(size: int, alignment: int) -> int:
    """The address of a new PROT_NONE area of ``size`` bytes, aligned to ``alignment`` (a power of 2).

    Nothing is allocated; mappings are put into it with MAP_FIXED.
    """
    start = mmap(0, size + alignment, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)
    address = (start + alignment - 1) & ~(alignment - 1)
    if address > start:
        munmap(start, address - start)
    if start + alignment > address:
        munmap(address + size, start + alignment - address)
    return address


def anonymous(size: int) -> Mapping:
    """Fresh private memory of ``size`` bytes."""
    return Mapping(mmap(0, size, PROT_RW, MAP_PRIVATE | MAP_ANONYMOUS), size)


class Mapping:
    """A readable and writable range of this process: ``address`` and ``size`` in bytes."""

    def __init__(self, address: int, size: int) -> None:
        self.address = address
        self.size = size

    def write(self, offset: int, data: bytes) -> None:
        """Copy ``data`` to ``offset``."""
        self._check(offset, len(data))
        ctypes.memmove(self.address + offset, data, len(data))

    def read(self, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset``."""
        self._check(offset, size)
        return ctypes.string_at(self.address + offset, size)

    def unmap(self) -> None:
        """munmap the whole range."""
        munmap(self.address, self.size)

    def _check(self, offset: int, size: int) -> None:
        if offset < 0 or offset + size > self.size:
            raise ValueError(f"{size} bytes at {offset:#x} are outside a mapping of {self.size:#x} bytes")
