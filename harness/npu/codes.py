# SPDX-License-Identifier: GPL-2.0-only
"""Numbers that driver and device agree on: PSP and SMU commands, message opcodes, status codes."""

from __future__ import annotations

from enum import IntEnum


class PspCommand(IntEnum):
    """aie_psp.c. VALIDATE_CERT is for AIE4 only and unknown here."""

    VALIDATE = 1
    START = 2
    RELEASE_TMR = 3


class SmuCommand(IntEnum):
    """aie_smu.c. Clocks are in MHz, DPM levels count from 0."""

    POWER_ON = 3
    POWER_OFF = 4
    SET_MPNPUCLK = 5
    SET_HCLK = 6
    SET_SOFT_DPM = 7
    SET_HARD_DPM = 8


class Opcode(IntEnum):
    """aie2_msg_priv.h, enum aie2_msg_opcode. INVOKE_SELF_TEST (0x104) has no layout there and is unknown
    here.
    """

    CREATE_CONTEXT = 0x2
    DESTROY_CONTEXT = 0x3
    GET_TELEMETRY = 0x4
    SYNC_BO = 0x7
    EXECUTE_BUFFER_CF = 0xC
    QUERY_COL_STATUS = 0xD
    QUERY_AIE_TILE_INFO = 0xE
    QUERY_AIE_VERSION = 0xF
    EXEC_DPU = 0x10
    CONFIG_CU = 0x11
    CHAIN_EXEC_BUFFER_CF = 0x12
    CHAIN_EXEC_DPU = 0x13
    CONFIG_DEBUG_BO = 0x14
    CHAIN_EXEC_NPU = 0x18
    SUSPEND = 0x101
    RESUME = 0x102
    ASSIGN_MGMT_PASID = 0x103
    MAP_HOST_BUFFER = 0x106
    GET_FIRMWARE_VERSION = 0x108
    SET_RUNTIME_CONFIG = 0x10A
    GET_RUNTIME_CONFIG = 0x10B
    REGISTER_ASYNC_EVENT = 0x10C
    UPDATE_PROPERTY = 0x113
    GET_APP_HEALTH = 0x114
    ADD_HOST_BUFFER = 0x115
    GET_DEV_REVISION = 0x117
    GET_PROTOCOL_VERSION = 0x301


class Status(IntEnum):
    """aie2_msg_priv.h, enum aie2_msg_status; those that this device gives by itself."""

    SUCCESS = 0
    AIE_ACCESS_ERROR = 0x1000004
    MGMT_NOAVAIL = 0x2000003
    MGMT_INVALID_PARAM = 0x2000004
    INVALID_INPUT_BUFFER = 0x4000001
    INVALID_COMMAND = 0x4000002
    INVALID_PARAM = 0x4000003
    INVALID_OPERATION = 0x4000006


PSP_READY = 1 << 31
PSP_ERROR_CANCEL = 0xFFFF0002
PSP_ERROR_BAD_STATE = 0xFFFF0007
SMU_OK = 1
SMU_UNKNOWN_COMMAND = 0xFE
"""Ours: the driver only knows 1 and not 1."""
