# SPDX-License-Identifier: GPL-2.0-only
"""The structures that DRM and amdxdna ioctls carry, as x86-64 lays them out.

Sources: include/uapi/drm/drm.h and include/uapi/drm/amdxdna_accel.h, Linux 7.3 (the same in 7.1 and 7.2).
Every size is checked when this module is imported.
"""

from __future__ import annotations

import ctypes
from enum import IntEnum

INVALID = 2**64 - 1
"""AMDXDNA_INVALID_ADDR: no address, or not mapped."""

_U8, _U16, _U32, _U64 = ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64
_S32, _S64 = ctypes.c_int32, ctypes.c_int64


class BoType(IntEnum):
    """enum amdxdna_bo_type."""

    INVALID = 0
    SHARE = 1
    DEV_HEAP = 2
    DEV = 3
    CMD = 4


class Info(IntEnum):
    """enum amdxdna_drm_get_param, for GET_INFO."""

    AIE_STATUS = 0
    AIE_METADATA = 1
    AIE_VERSION = 2
    CLOCK_METADATA = 3
    SENSORS = 4
    HW_CONTEXTS = 5
    FIRMWARE_VERSION = 8
    POWER_MODE = 9
    TELEMETRY = 10
    FORCE_PREEMPT_STATE = 11
    RESOURCE_INFO = 12
    FRAME_BOUNDARY_PREEMPT_STATE = 13


class Array(IntEnum):
    """DRM_AMDXDNA_HW_*, for GET_ARRAY."""

    HW_CONTEXT_ALL = 0
    HW_LAST_ASYNC_ERR = 2
    BO_USAGE = 6


class State(IntEnum):
    """enum amdxdna_drm_set_param, for SET_STATE."""

    POWER_MODE = 0
    FORCE_PREEMPT = 3
    FRAME_BOUNDARY_PREEMPT = 4


class HwctxParam(IntEnum):
    """enum amdxdna_drm_config_hwctx_param."""

    CONFIG_CU = 0
    ASSIGN_DBG_BUF = 1
    REMOVE_DBG_BUF = 2


SYNC_TO_DEVICE = 0
SYNC_FROM_DEVICE = 1

PRIORITY_NORMAL = 0x200


class GemClose(ctypes.Structure):
    """DRM_IOCTL_GEM_CLOSE."""

    _fields_ = (("handle", _U32), ("pad", _U32))


class GemFlink(ctypes.Structure):
    """DRM_IOCTL_GEM_FLINK: ``name`` comes back."""

    _fields_ = (("handle", _U32), ("name", _U32))


class GemOpen(ctypes.Structure):
    """DRM_IOCTL_GEM_OPEN: ``handle`` and ``size`` (bytes) come back."""

    _fields_ = (("name", _U32), ("handle", _U32), ("size", _U64))


class PrimeHandle(ctypes.Structure):
    """DRM_IOCTL_PRIME_HANDLE_TO_FD and back; ``flags`` are O_CLOEXEC and O_RDWR."""

    _fields_ = (("handle", _U32), ("flags", _U32), ("fd", _S32))


class SyncobjCreate(ctypes.Structure):
    """DRM_IOCTL_SYNCOBJ_CREATE: ``handle`` comes back."""

    _fields_ = (("handle", _U32), ("flags", _U32))


class SyncobjDestroy(ctypes.Structure):
    """DRM_IOCTL_SYNCOBJ_DESTROY."""

    _fields_ = (("handle", _U32), ("pad", _U32))


class SyncobjTimelineWait(ctypes.Structure):
    """DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT; ``timeout_nsec`` is absolute, CLOCK_MONOTONIC."""

    _fields_ = (
        ("handles", _U64),
        ("points", _U64),
        ("timeout_nsec", _S64),
        ("count_handles", _U32),
        ("flags", _U32),
        ("first_signaled", _U32),
        ("pad", _U32),
        ("deadline_nsec", _U64),
    )


class QosInfo(ctypes.Structure):
    """struct amdxdna_qos_info."""

    _fields_ = (
        ("gops", _U32),
        ("fps", _U32),
        ("dma_bandwidth", _U32),
        ("latency", _U32),
        ("frame_exec_time", _U32),
        ("priority", _U32),
    )


class CreateHwctx(ctypes.Structure):
    """CREATE_HWCTX: ``umq_doorbell``, ``handle`` and ``syncobj_handle`` come back."""

    _fields_ = (
        ("ext", _U64),
        ("ext_flags", _U64),
        ("qos_p", _U64),
        ("umq_bo", _U32),
        ("log_buf_bo", _U32),
        ("max_opc", _U32),
        ("num_tiles", _U32),
        ("mem_size", _U32),
        ("umq_doorbell", _U32),
        ("handle", _U32),
        ("syncobj_handle", _U32),
    )


class DestroyHwctx(ctypes.Structure):
    """DESTROY_HWCTX."""

    _fields_ = (("handle", _U32), ("pad", _U32))


class CuConfig(ctypes.Structure):
    """struct amdxdna_cu_config: one compute unit."""

    _fields_ = (("cu_bo", _U32), ("cu_func", _U8), ("pad", _U8 * 3))


class ConfigCuHeader(ctypes.Structure):
    """struct amdxdna_hwctx_param_config_cu, without the array that follows."""

    _fields_ = (("num_cus", _U16), ("pad", _U16 * 3))


class ConfigHwctx(ctypes.Structure):
    """CONFIG_HWCTX."""

    _fields_ = (
        ("handle", _U32),
        ("param_type", _U32),
        ("param_val", _U64),
        ("param_val_size", _U32),
        ("pad", _U32),
    )


class VaEntry(ctypes.Structure):
    """struct amdxdna_drm_va_entry: a piece of user memory, page aligned."""

    _fields_ = (("vaddr", _U64), ("len", _U64))


class VaTableHeader(ctypes.Structure):
    """struct amdxdna_drm_va_tbl, without the entries that follow."""

    _fields_ = (("dmabuf_fd", _S32), ("num_entries", _U32))


class CreateBo(ctypes.Structure):
    """CREATE_BO: ``handle`` comes back."""

    _fields_ = (("flags", _U64), ("vaddr", _U64), ("size", _U64), ("type", _U32), ("handle", _U32))


class GetBoInfo(ctypes.Structure):
    """GET_BO_INFO: the last three come back."""

    _fields_ = (
        ("ext", _U64),
        ("ext_flags", _U64),
        ("handle", _U32),
        ("pad", _U32),
        ("map_offset", _U64),
        ("vaddr", _U64),
        ("xdna_addr", _U64),
    )


class SyncBo(ctypes.Structure):
    """SYNC_BO."""

    _fields_ = (("handle", _U32), ("direction", _U32), ("offset", _U64), ("size", _U64))


class ExecCmd(ctypes.Structure):
    """EXEC_CMD: ``cmd_handles`` is the handle itself, ``args`` points to u32 handles, ``seq`` comes back."""

    _fields_ = (
        ("ext", _U64),
        ("ext_flags", _U64),
        ("hwctx", _U32),
        ("type", _U32),
        ("cmd_handles", _U64),
        ("args", _U64),
        ("cmd_count", _U32),
        ("arg_count", _U32),
        ("seq", _U64),
    )


class WaitCmd(ctypes.Structure):
    """WAIT_CMD (AIE4 only)."""

    _fields_ = (("hwctx", _U32), ("timeout", _U32), ("seq", _U64))


class GetInfo(ctypes.Structure):
    """GET_INFO: ``buffer_size`` in and out, bytes."""

    _fields_ = (("param", _U32), ("buffer_size", _U32), ("buffer", _U64))


class SetState(ctypes.Structure):
    """SET_STATE (root only)."""

    _fields_ = (("param", _U32), ("buffer_size", _U32), ("buffer", _U64))


class GetArray(ctypes.Structure):
    """GET_ARRAY: ``element_size`` and ``num_element`` in and out."""

    _fields_ = (
        ("param", _U32),
        ("element_size", _U32),
        ("num_element", _U32),
        ("pad", _U32),
        ("buffer", _U64),
    )


class Sensor(ctypes.Structure):
    """struct amdxdna_drm_query_sensor. ``input`` is what it says now, times ten to the ``unitm``."""

    SIZE = 168
    _fields_ = (
        ("label", ctypes.c_char * 64),
        ("input", _U32),
        ("max", _U32),
        ("average", _U32),
        ("highest", _U32),
        ("status", ctypes.c_char * 64),
        ("units", ctypes.c_char * 16),
        ("unitm", ctypes.c_int8),
        ("type", _U8),
        ("pad", _U8 * 6),
    )

    @property
    def scaled(self) -> float:
        return float(self.input) * 10.0 ** int(self.unitm)


class BoUsage(ctypes.Structure):
    """struct amdxdna_drm_bo_usage: ``pid`` in, bytes out."""

    _fields_ = (("pid", _S64), ("total_usage", _U64), ("internal_usage", _U64), ("heap_usage", _U64))


class AieStatus(ctypes.Structure):
    """struct amdxdna_drm_query_aie_status: where to put how many bytes; ``cols_filled`` comes back."""

    _fields_ = (("buffer", _U64), ("buffer_size", _U32), ("cols_filled", _U32))


class ResourceInfo(ctypes.Structure):
    """struct amdxdna_drm_get_resource_info."""

    _fields_ = (
        ("npu_clk_max", _U64),
        ("npu_tops_max", _U64),
        ("npu_task_max", _U64),
        ("npu_tops_curr", _U64),
        ("npu_task_curr", _U64),
    )


class HwctxEntry(ctypes.Structure):
    """struct amdxdna_drm_hwctx_entry, one element of HW_CONTEXT_ALL."""

    _fields_ = (
        ("context_id", _U32),
        ("start_col", _U32),
        ("num_col", _U32),
        ("hwctx_id", _U32),
        ("pid", _S64),
        ("command_submissions", _U64),
        ("command_completions", _U64),
        ("migrations", _U64),
        ("preemptions", _U64),
        ("errors", _U64),
        ("priority", _U64),
        ("heap_usage", _U64),
        ("suspensions", _U64),
        ("state", _U32),
        ("pasid", _U32),
        ("gops", _U32),
        ("fps", _U32),
        ("dma_bandwidth", _U32),
        ("latency", _U32),
        ("frame_exec_time", _U32),
        ("txn_op_idx", _U32),
        ("ctx_pc", _U32),
        ("fatal_error_type", _U32),
        ("fatal_error_exception_type", _U32),
        ("fatal_error_exception_pc", _U32),
        ("fatal_error_app_module", _U32),
        ("pad", _U32),
    )


SIZES: dict[type[ctypes.Structure], int] = {
    GemClose: 8,
    GemFlink: 8,
    GemOpen: 16,
    PrimeHandle: 12,
    SyncobjCreate: 8,
    SyncobjDestroy: 8,
    SyncobjTimelineWait: 48,
    QosInfo: 24,
    CreateHwctx: 56,
    DestroyHwctx: 8,
    CuConfig: 8,
    ConfigCuHeader: 8,
    ConfigHwctx: 24,
    VaEntry: 16,
    VaTableHeader: 8,
    CreateBo: 32,
    GetBoInfo: 48,
    SyncBo: 24,
    ExecCmd: 56,
    WaitCmd: 16,
    GetInfo: 16,
    SetState: 16,
    GetArray: 24,
    Sensor: Sensor.SIZE,
    BoUsage: 32,
    AieStatus: 16,
    ResourceInfo: 40,
    HwctxEntry: 144,
}
"""Bytes of each structure, as sizeof() says in C on x86-64."""

for _kind, _bytes in SIZES.items():
    if ctypes.sizeof(_kind) != _bytes:
        raise TypeError(f"{_kind.__name__} has {ctypes.sizeof(_kind)} bytes, the kernel's has {_bytes}")
