# SPDX-License-Identifier: GPL-2.0-only
"""ioctl(2), raw, and the request codes of DRM and amdxdna.

Raw means: one system call, whatever it answers. libdrm's drmIoctl() goes on for ever on EAGAIN, which this
driver uses as an answer (CREATE_BO of a DEV BO on a heap that is too small).

Sources: include/uapi/asm-generic/ioctl.h, include/uapi/drm/drm.h, amdxdna_accel.h beside it (Linux 7.3).
"""

from __future__ import annotations

import ctypes
import os

from harness.drm import structs
from harness.drm.calls import MADE, answered

_NONE, _WRITE, _READ = 0, 1, 2
_DRM_TYPE = ord("d")
_DRIVER_BASE = 0x40

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]
_libc.ioctl.restype = ctypes.c_int


def request_code(direction: int, number: int, size: int) -> int:
    """A DRM ioctl's request: direction in bits 31:30, size in 29:16, 'd' in 15:8, number in 7:0."""
    return direction << 30 | size << 16 | _DRM_TYPE << 8 | number


def _iow(number: int, kind: type[ctypes.Structure]) -> int:
    return request_code(_WRITE, number, ctypes.sizeof(kind))


def _iowr(number: int, kind: type[ctypes.Structure]) -> int:
    return request_code(_READ | _WRITE, number, ctypes.sizeof(kind))


GEM_CLOSE = _iow(0x09, structs.GemClose)
GEM_FLINK = _iowr(0x0A, structs.GemFlink)
GEM_OPEN = _iowr(0x0B, structs.GemOpen)
PRIME_HANDLE_TO_FD = _iowr(0x2D, structs.PrimeHandle)
PRIME_FD_TO_HANDLE = _iowr(0x2E, structs.PrimeHandle)
SYNCOBJ_CREATE = _iowr(0xBF, structs.SyncobjCreate)
SYNCOBJ_DESTROY = _iowr(0xC0, structs.SyncobjDestroy)
SYNCOBJ_TIMELINE_WAIT = _iowr(0xCA, structs.SyncobjTimelineWait)

CREATE_HWCTX = _iowr(_DRIVER_BASE + 0, structs.CreateHwctx)
DESTROY_HWCTX = _iowr(_DRIVER_BASE + 1, structs.DestroyHwctx)
CONFIG_HWCTX = _iowr(_DRIVER_BASE + 2, structs.ConfigHwctx)
CREATE_BO = _iowr(_DRIVER_BASE + 3, structs.CreateBo)
GET_BO_INFO = _iowr(_DRIVER_BASE + 4, structs.GetBoInfo)
SYNC_BO = _iowr(_DRIVER_BASE + 5, structs.SyncBo)
EXEC_CMD = _iowr(_DRIVER_BASE + 6, structs.ExecCmd)
GET_INFO = _iowr(_DRIVER_BASE + 7, structs.GetInfo)
SET_STATE = _iowr(_DRIVER_BASE + 8, structs.SetState)
WAIT_CMD = _iow(_DRIVER_BASE + 9, structs.WaitCmd)
GET_ARRAY = _iowr(_DRIVER_BASE + 10, structs.GetArray)


def call(fd: int, request: int, argument: ctypes.Structure) -> int:
    """One ioctl(2). ``argument`` is changed in place; the return value is the kernel's, 0 for all of DRM's.

    Raises OSError with the kernel's errno, EAGAIN and EINTR included: nothing is tried again.
    """
    result = try_call(fd, request, argument)
    if result < 0:
        raise OSError(-result, f"{os.strerror(-result)} ({type(argument).__name__})")
    return result


def try_call(fd: int, request: int, argument: ctypes.Structure) -> int:
    """One ioctl(2): the kernel's return value, or the negative errno. Does not raise."""
    MADE[type(argument).__name__] += 1
    result: int = _libc.ioctl(fd, request, ctypes.byref(argument))
    result = -ctypes.get_errno() if result < 0 else result
    answered(type(argument).__name__, result)
    return result
