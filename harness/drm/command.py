# SPDX-License-Identifier: GPL-2.0-only
"""The bytes of a command BO, as the driver and the firmware read them.

Source: drivers/accel/amdxdna/amdxdna_ctx.h, Linux 7.3: struct amdxdna_cmd, amdxdna_cmd_start_npu and
amdxdna_cmd_chain.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum

_HEADER_BYTES = 4
_OPCODE_SHIFT = 23
_COUNT_SHIFT = 12
_STATE_MASK = 0xF


class Opcode(IntEnum):
    """enum ert_cmd_opcode."""

    START_CU = 0
    START_DPU = 18
    CHAIN = 19
    START_NPU = 20
    START_NPU_PREEMPT = 21
    START_NPU_PREEMPT_ELF = 22


class State(IntEnum):
    """enum ert_cmd_state."""

    INVALID = 0
    NEW = 1
    QUEUED = 2
    RUNNING = 3
    COMPLETED = 4
    ERROR = 5
    ABORT = 6
    SUBMITTED = 7
    TIMEOUT = 8
    NORESPONSE = 9


def packet(opcode: Opcode, payload: bytes, cu_mask: int = 1) -> bytes:
    """A whole command: header, CU mask (not for chains), payload. The payload is padded to 4 bytes."""
    words = b"" if opcode is Opcode.CHAIN else struct.pack("<I", cu_mask)
    words += payload + bytes(-len(payload) % 4)
    header = State.NEW | len(words) // 4 << _COUNT_SHIFT | opcode << _OPCODE_SHIFT
    return struct.pack("<I", header) + words


def start_npu(instructions: int, size: int, arguments: Sequence[int], cu: int = 0) -> bytes:
    """START_NPU on compute unit ``cu``: ``size`` bytes of instructions at a device address, and up to 26
    32-bit arguments for them."""
    payload = struct.pack("<QII", instructions, size, 0)
    payload += struct.pack(f"<{len(arguments)}I", *arguments)
    return packet(Opcode.START_NPU, payload, 1 << cu)


def chain(handles: Sequence[int]) -> bytes:
    """A chain of command BOs, by handle."""
    payload = struct.pack("<III12x", len(handles), 0, 0)
    payload += struct.pack(f"<{len(handles)}Q", *handles)
    return packet(Opcode.CHAIN, payload)


def state(memory: bytes) -> State:
    """The state that the driver wrote into a command's first word."""
    return State(struct.unpack_from("<I", memory)[0] & _STATE_MASK)
