# SPDX-License-Identifier: GPL-2.0-only
"""Slots of a chain, as the driver writes them (aie2_message.c)."""

from __future__ import annotations

import struct

import pytest

from harness.npu.codes import Opcode
from harness.npu.commands import BadSlot, Kind, slots


def npu_slot(kind: int, code: tuple[int, int], arguments: list[int], unit: int = 0) -> bytes:
    head = struct.pack("<IQQQIIIIII", kind, code[0], 0x5000, 0x6000, code[1], 8, 16, 0, unit, len(arguments))
    return head + struct.pack(f"<{len(arguments)}I", *arguments)


def test_a_chain_of_npu_slots() -> None:
    data = npu_slot(Kind.PARTIAL_ELF, (0x4008000, 64), [1, 2, 3], unit=2) + npu_slot(Kind.ELF, (0x4010000, 8), [3])
    first, second = slots(Opcode.CHAIN_EXEC_NPU, data, 2)
    assert (first.kind, first.code, first.arguments, first.unit) == (Kind.PARTIAL_ELF, (0x4008000, 64), (1, 2, 3), 2)
    assert second.kind is Kind.ELF
    assert second.touched == ((0x5000, 8), (0x6000, 16))


def test_a_kernel_with_an_instruction_buffer_in_its_arguments() -> None:
    (command,) = slots(Opcode.CHAIN_EXEC_NPU, npu_slot(Kind.NON_ELF, (0, 0), [3, 0, 0x4008000, 0, 10, 0x1000, 0]), 1)
    assert command.code == (0x4008000, 40)
    (command,) = slots(Opcode.CHAIN_EXEC_NPU, npu_slot(Kind.NON_ELF, (0, 0), [1, 2]), 1)
    assert command.code == (0, 0)


def test_the_slots_of_older_protocols() -> None:
    data = struct.pack("<QIIII", 0x4008000, 64, 0, 1, 2) + struct.pack("<II", 7, 8)
    (command,) = slots(Opcode.CHAIN_EXEC_DPU, data, 1)
    assert (command.code, command.arguments, command.unit) == ((0x4008000, 64), (7, 8), 1)
    data = struct.pack("<II", 0, 5) + struct.pack("<5I", 3, 0, 0x4008000, 0, 2)
    (command,) = slots(Opcode.CHAIN_EXEC_BUFFER_CF, data, 1)
    assert command.code == (0x4008000, 8)


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"", 1),
        (npu_slot(2, (0, 0), [1]), 2),
        (npu_slot(2, (0, 0), [1])[:-4], 1),
        (npu_slot(9, (0, 0), []), 1),
    ],
)
def test_a_slot_that_cannot_be_read(data: bytes, count: int) -> None:
    with pytest.raises(BadSlot):
        list(slots(Opcode.CHAIN_EXEC_NPU, data, count))
