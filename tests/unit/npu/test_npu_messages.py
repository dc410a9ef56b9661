# SPDX-License-Identifier: GPL-2.0-only
"""Message sizes and fields, against the structures of aie2_msg_priv.h, counted by hand."""

from __future__ import annotations

import struct

import pytest

from harness.npu.codes import Opcode
from harness.npu.generations import GENERATIONS, Protocol
from harness.npu.messages import MESSAGES

SIZES = {
    Opcode.CREATE_CONTEXT: (28, 76),
    Opcode.DESTROY_CONTEXT: (4, 4),
    Opcode.GET_TELEMETRY: (16, 16),
    Opcode.SYNC_BO: (24, 4),
    Opcode.EXECUTE_BUFFER_CF: (80, 4),
    Opcode.QUERY_COL_STATUS: (20, 8),
    Opcode.QUERY_AIE_TILE_INFO: (4, 48),
    Opcode.QUERY_AIE_VERSION: (4, 8),
    Opcode.EXEC_DPU: (160, 4),
    Opcode.CONFIG_CU: (132, 4),
    Opcode.CHAIN_EXEC_BUFFER_CF: (16, 12),
    Opcode.CHAIN_EXEC_DPU: (16, 12),
    Opcode.CONFIG_DEBUG_BO: (20, 4),
    Opcode.CHAIN_EXEC_NPU: (24, 12),
    Opcode.SUSPEND: (4, 4),
    Opcode.RESUME: (4, 4),
    Opcode.ASSIGN_MGMT_PASID: (4, 4),
    Opcode.MAP_HOST_BUFFER: (20, 4),
    Opcode.GET_FIRMWARE_VERSION: (4, 20),
    Opcode.SET_RUNTIME_CONFIG: (12, 4),
    Opcode.GET_RUNTIME_CONFIG: (4, 12),
    Opcode.REGISTER_ASYNC_EVENT: (12, 8),
    Opcode.UPDATE_PROPERTY: (20, 4),
    Opcode.GET_APP_HEALTH: (16, 36),
    Opcode.ADD_HOST_BUFFER: (20, 4),
    Opcode.GET_DEV_REVISION: (4, 12),
    Opcode.GET_PROTOCOL_VERSION: (4, 12),
}


@pytest.mark.parametrize("opcode", Opcode)
def test_sizes_are_those_of_the_driver(opcode: Opcode) -> None:
    message = MESSAGES[opcode]
    request, answer = SIZES[opcode]
    assert message.size_fits(request)
    assert not message.size_fits(request - 4)
    assert message.size_fits(request + 8) == message.longer
    assert len(message.pack(0)) == answer


def test_fields_are_decoded_and_padding_is_not() -> None:
    payload = struct.pack("<IBBBBBBHIIII", 1, 2, 3, 0, 9, 1, 9, 0x1234, 9, 9, 7, 2)
    assert MESSAGES[Opcode.CREATE_CONTEXT].decode(payload) == {
        "aie_type": 1,
        "start_col": 2,
        "num_col": 3,
        "num_unused_col": 0,
        "num_cq_pairs": 1,
        "pasid": 0x1234,
        "sec_comm_target_type": 7,
        "priority": 2,
    }
    cus = MESSAGES[Opcode.CONFIG_CU].decode(struct.pack("<33I", 2, *range(32)))
    assert cus == {"num_cus": 2, "cfgs": list(range(32))}


def test_the_status_stands_where_the_driver_looks() -> None:
    assert MESSAGES[Opcode.GET_TELEMETRY].pack(5, (1, 2, 3)) == struct.pack("<4I", 1, 2, 3, 5)
    assert MESSAGES[Opcode.CHAIN_EXEC_NPU].pack(5, (1, 2)) == struct.pack("<3I", 5, 1, 2)
    assert MESSAGES[Opcode.CREATE_CONTEXT].pack(5) == struct.pack("<I72x", 5)


def test_a_refused_chain_says_which_slot_and_why() -> None:
    assert MESSAGES[Opcode.CHAIN_EXEC_NPU].refusal(5) == struct.pack("<3I", 5, 0, 5)
    assert MESSAGES[Opcode.GET_TELEMETRY].refusal(5) == struct.pack("<4I", 0, 0, 0, 5)


def test_garbage_keeps_the_size_and_the_status_unless_there_is_nothing_else() -> None:
    assert MESSAGES[Opcode.GET_TELEMETRY].garbage(0) == b"\xa5" * 12 + bytes(4)
    assert MESSAGES[Opcode.ADD_HOST_BUFFER].garbage(0) == b"\xa5" * 4


@pytest.mark.parametrize(
    ("npu", "version", "name", "known"),
    [
        ("npu4", "6.17", "ADD_HOST_BUFFER", False),
        ("npu4", "6.18", "ADD_HOST_BUFFER", True),
        ("npu4", "7.0", "GET_DEV_REVISION", True),
        ("npu1", "5.8", "ADD_HOST_BUFFER", False),
        ("npu1", "5.8", "CHAIN_EXEC_NPU", True),
        ("npu1", "5.7", "CHAIN_EXEC_NPU", False),
    ],
)
def test_features_follow_the_drivers_table(npu: str, version: str, name: str, known: bool) -> None:
    assert (Protocol.parse(version) >= GENERATIONS[npu].since[name]) == known


def test_every_rule_name_of_a_generation_is_a_message() -> None:
    for generation in GENERATIONS.values():
        assert generation.since.keys() <= Opcode.__members__.keys()
