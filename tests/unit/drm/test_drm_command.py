# SPDX-License-Identifier: GPL-2.0-only
"""Commands as bytes."""

from __future__ import annotations

import struct

from harness.drm import command
from harness.drm.command import Opcode, State


def test_start_npu() -> None:
    words = struct.unpack("<8I", command.start_npu(0x4008000, 64, [7, 8], cu=2))
    assert words == (20 << 23 | 7 << 12 | State.NEW, 1 << 2, 0x4008000, 0, 64, 0, 7, 8)


def test_chain_has_no_unit() -> None:
    data = command.chain([5, 6])
    header, count = struct.unpack_from("<II", data)
    assert header >> 23 & 31 == Opcode.CHAIN
    assert header >> 12 & 0x7FF == (len(data) - 4) // 4
    assert count == 2
    assert struct.unpack_from("<QQ", data, 28) == (5, 6)


def test_payload_is_padded_to_words() -> None:
    assert len(command.packet(Opcode.START_CU, b"12345")) == 16


def test_state() -> None:
    assert command.state(struct.pack("<I", 20 << 23 | 8)) is State.TIMEOUT
