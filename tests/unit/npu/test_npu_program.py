# SPDX-License-Identifier: GPL-2.0-only
"""The instructions of our own."""

from __future__ import annotations

import struct
import zlib

import pytest

from harness.npu import program
from harness.npu.program import MAGIC, BadProgram, Failure, Hang, Op


class Memory:
    def __init__(self) -> None:
        self.data = bytearray(0x10000)

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.data[address : address + size])

    def write(self, address: int, data: bytes) -> None:
        self.data[address : address + len(data)] = data


code = program.assemble


@pytest.fixture
def memory() -> Memory:
    memory = Memory()
    memory.write(0x2000, b"0123456789abcdef")
    return memory


def test_copy_fill_checksum_and_store(memory: Memory) -> None:
    done = program.run(
        code(
            (Op.COPY, 16, 0x2000, 0x3000, 0),
            (Op.FILL, 6, 0, 0x3100, 0x11223344),
            (Op.CRC32, 16, 0x2000, 0x3200, 0),
            (Op.STORE, 0, 0, 0x3300, 0x1122334455667788),
            (Op.NOP, 0, 0, 0, 0),
        ),
        [],
        memory,
    )
    assert done == 5
    assert memory.read(0x3000, 16) == b"0123456789abcdef"
    assert memory.read(0x3100, 8) == bytes.fromhex("443322114433") + b"\0\0"
    assert struct.unpack("<I", memory.read(0x3200, 4))[0] == zlib.crc32(b"0123456789abcdef")
    assert memory.read(0x3300, 8) == struct.pack("<Q", 0x1122334455667788)


def test_small_operands_name_argument_words(memory: Memory) -> None:
    program.run(code((Op.COPY, 4, 1, 3, 0)), [7, 0x2000, 0, 0x3000, 0], memory)
    assert memory.read(0x3000, 4) == b"0123"


def test_a_buffer_that_is_not_ours_does_nothing(memory: Memory) -> None:
    before = bytes(memory.data)
    assert program.run(b"\x06\x03\x01\x00" * 20, [], memory) == 0
    assert program.run(b"", [], memory) == 0
    assert memory.data == before


@pytest.mark.parametrize(
    ("bytes_", "why"),
    [
        (struct.pack("<II", MAGIC, 2) + bytes(32), "2 instructions"),
        (code((99, 0, 0, 0, 0)), "operation 99"),
        (code((Op.COPY, 1 << 30, 0x2000, 0x3000, 0)), "bytes"),
        (code((Op.COPY, 4, 0, 0x3000, 0)), "argument word 0"),
    ],
)
def test_a_program_of_ours_that_goes_wrong_says_so(memory: Memory, bytes_: bytes, why: str) -> None:
    with pytest.raises(BadProgram, match=why):
        program.run(bytes_, [], memory)


def test_hang_and_fail(memory: Memory) -> None:
    with pytest.raises(Hang):
        program.run(code((Op.HANG, 0, 0, 0, 0)), [], memory)
    with pytest.raises(Failure) as failure:
        program.run(code((Op.FAIL, 0, 0, 0, 0x1000005)), [], memory)
    assert failure.value.status == 0x1000005
