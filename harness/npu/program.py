# SPDX-License-Identifier: GPL-2.0-only
"""Instructions of our own, so that a test can see what the device saw. Layout: README.md.

A program is the magic word 0x414E4458 ("XDNA"), the number of instructions, and 32 bytes for each: {u32
op, u32 size, u64 source, u64 target, u64 value}. An instruction buffer without the magic word (a real one)
completes without effect.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from harness.npu.codes import Status
from harness.npu.trouble import Trouble

MAGIC = 0x414E4458
HEAD = struct.Struct("<II")
INSTRUCTION = struct.Struct("<IIQQQ")
ARGUMENTS = 0x1000
"""Operands below this are not addresses but say which word of the command's arguments the address starts
at.
"""
LONGEST = 64 << 20


class Op(IntEnum):
    """What an instruction does with ``size`` bytes."""

    NOP = 0
    COPY = 1
    FILL = 2
    CRC32 = 3
    STORE = 4
    HANG = 5
    FAIL = 6


class BadProgram(Trouble):
    """A program that begins like ours and goes wrong: the test's mistake."""

    event = "program-error"


class Hang(Exception):
    """The command never ends."""


class Failure(Exception):
    """The command ends with an error status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status:#x}")
        self.status = status


class Memory(Protocol):
    """Addresses as a command means them."""

    def read(self, address: int, size: int) -> bytes: ...

    def write(self, address: int, data: bytes) -> None: ...


@dataclass(frozen=True)
class Instruction:
    op: Op
    size: int
    source: int
    target: int
    value: int


def parse(code: bytes) -> list[Instruction]:
    """The instructions; none if the buffer does not start with the magic word. Raises BadProgram."""
    if len(code) < HEAD.size:
        return []
    magic, count = HEAD.unpack_from(code)
    if magic != MAGIC:
        return []
    if HEAD.size + count * INSTRUCTION.size > len(code):
        raise BadProgram(f"{count} instructions in {len(code)} bytes")
    instructions = []
    for n in range(count):
        op, size, *operands = INSTRUCTION.unpack_from(code, HEAD.size + n * INSTRUCTION.size)
        if op not in Op.__members__.values() or size > LONGEST:
            raise BadProgram(f"instruction {n}: operation {op}, {size} bytes")
        instructions.append(Instruction(Op(op), size, *operands))
    return instructions


def assemble(*instructions: tuple[int, int, int, int, int]) -> bytes:
    """A program from (op, size, source, target, value) each."""
    return HEAD.pack(MAGIC, len(instructions)) + b"".join(INSTRUCTION.pack(*i) for i in instructions)


def run(code: bytes, arguments: Sequence[int], memory: Memory) -> int:
    """Run a program to its end; returns how many instructions it had.

    ``arguments`` are the command's 32-bit argument words. Raises BadProgram, Hang, Failure and what
    ``memory`` raises.
    """
    instructions = parse(code)
    for instruction in instructions:
        _OPS[instruction.op](_Step(instruction, arguments, memory))
    return len(instructions)


class _Step:
    """One instruction with its operands looked up when they are needed."""

    def __init__(self, instruction: Instruction, arguments: Sequence[int], memory: Memory) -> None:
        self.size = instruction.size
        self.value = instruction.value
        self.memory = memory
        self._instruction = instruction
        self._arguments = arguments

    @property
    def source(self) -> int:
        return self._address(self._instruction.source)

    @property
    def target(self) -> int:
        return self._address(self._instruction.target)

    def _address(self, operand: int) -> int:
        if operand >= ARGUMENTS:
            return operand
        if operand + 2 > len(self._arguments):
            raise BadProgram(f"argument word {operand} of {len(self._arguments)}")
        return self._arguments[operand] | self._arguments[operand + 1] << 32


def _nop(step: _Step) -> None:
    pass


def _copy(step: _Step) -> None:
    step.memory.write(step.target, step.memory.read(step.source, step.size))


def _fill(step: _Step) -> None:
    word = struct.pack("<I", step.value & 0xFFFFFFFF)
    step.memory.write(step.target, (word * (step.size // 4 + 1))[: step.size])


def _crc32(step: _Step) -> None:
    found = zlib.crc32(step.memory.read(step.source, step.size))
    step.memory.write(step.target, struct.pack("<I", found))


def _store(step: _Step) -> None:
    step.memory.write(step.target, struct.pack("<Q", step.value))


def _hang(step: _Step) -> None:
    raise Hang


def _fail(step: _Step) -> None:
    raise Failure(step.value & 0xFFFFFFFF or Status.INVALID_COMMAND)


_OPS: dict[Op, Callable[[_Step], None]] = {
    Op.NOP: _nop,
    Op.COPY: _copy,
    Op.FILL: _fill,
    Op.CRC32: _crc32,
    Op.STORE: _store,
    Op.HANG: _hang,
    Op.FAIL: _fail,
}
