# SPDX-License-Identifier: GPL-2.0-only
"""Commands: the chain in guest memory, its slots, and what becomes of each (driver: aie2_message.c,
aie2_cmdlist_*).

A chain lies in the heap. Every slot names an instruction buffer (program.py) and argument words. The chain
stops at the first slot that fails; the answer is {status, index of that slot, its status}.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from harness.npu import program
from harness.npu.codes import Opcode, Status
from harness.npu.contexts import Context, ContextMemory, Reply
from harness.npu.iommu import Iommu
from harness.npu.trouble import ProtocolError, Trouble

MAX_CHAIN = 0x1000
"""Bytes of a chain (aie2_msg_priv.h, MAX_CHAIN_CMDBUF_SIZE)."""
START_CU_OPCODE = 3
"""First argument of a kernel that takes an instruction buffer, as user space (XRT) passes it."""
_NPU_SLOT = struct.Struct("<IQQQIIIIII")
_DPU_SLOT = struct.Struct("<QIIII")
_CF_SLOT = struct.Struct("<II")


class Kind(IntEnum):
    """aie2_msg_priv.h, enum exec_npu_type."""

    NON_ELF = 1
    PARTIAL_ELF = 2
    PREEMPT = 3
    ELF = 4


class BadSlot(ProtocolError):
    """A slot that cannot be read."""

    status = Status.INVALID_COMMAND


class UnknownUnit(ProtocolError):
    """A command for a compute unit that CONFIG_CU did not set up."""

    status = Status.INVALID_PARAM


@dataclass(frozen=True)
class Command:
    """One slot. ``code`` is (address, bytes) of its instructions, ``touched`` other buffers that it names."""

    kind: Kind
    unit: int
    code: tuple[int, int]
    arguments: tuple[int, ...]
    touched: tuple[tuple[int, int], ...] = ()


def _words(data: bytes, offset: int, count: int) -> tuple[int, ...]:
    if offset + 4 * count > len(data):
        raise BadSlot(f"a slot with {count} argument words ends behind its chain of {len(data)} bytes")
    return struct.unpack_from(f"<{count}I", data, offset)


def _head(layout: struct.Struct, data: bytes, offset: int) -> tuple[Any, ...]:
    if offset + layout.size > len(data):
        raise BadSlot(f"a slot at {offset:#x} begins behind its chain of {len(data)} bytes")
    return layout.unpack_from(data, offset)


def start_cu(unit: int, arguments: Sequence[int]) -> Command:
    """A command whose arguments are a kernel's: {u64 opcode, u64 instruction buffer, u32 its words, ...}."""
    code = (0, 0)
    if len(arguments) >= 5 and arguments[0] | arguments[1] << 32 == START_CU_OPCODE:
        code = (arguments[2] | arguments[3] << 32, 4 * arguments[4])
    return Command(Kind.NON_ELF, unit, code, tuple(arguments))


def _npu_slot(data: bytes, offset: int) -> tuple[Command, int]:
    kind, code, save, restore, code_size, save_size, restore_size, _, unit, count = _head(_NPU_SLOT, data, offset)
    arguments = _words(data, offset + _NPU_SLOT.size, count)
    end = offset + _NPU_SLOT.size + 4 * count
    if kind not in Kind.__members__.values():
        raise BadSlot(f"a slot of type {kind}")
    if kind == Kind.NON_ELF:
        return start_cu(unit, arguments), end
    touched = ((save, save_size), (restore, restore_size))
    return Command(Kind(kind), unit, (code, code_size), arguments, touched), end


def _dpu_slot(data: bytes, offset: int) -> tuple[Command, int]:
    code, size, _, unit, count = _head(_DPU_SLOT, data, offset)
    arguments = _words(data, offset + _DPU_SLOT.size, count)
    return Command(Kind.PARTIAL_ELF, unit, (code, size), arguments), offset + _DPU_SLOT.size + 4 * count


def _cf_slot(data: bytes, offset: int) -> tuple[Command, int]:
    unit, count = _head(_CF_SLOT, data, offset)
    return start_cu(unit, _words(data, offset + _CF_SLOT.size, count)), offset + _CF_SLOT.size + 4 * count


_SLOTS: dict[int, Callable[[bytes, int], tuple[Command, int]]] = {
    Opcode.CHAIN_EXEC_NPU: _npu_slot,
    Opcode.CHAIN_EXEC_DPU: _dpu_slot,
    Opcode.CHAIN_EXEC_BUFFER_CF: _cf_slot,
}


def slots(opcode: int, data: bytes, count: int) -> Iterator[Command]:
    """The commands of a chain. Raises BadSlot at the slot that cannot be read."""
    offset = 0
    for _ in range(count):
        command, offset = _SLOTS[opcode](data, offset)
        yield command


class Executor:
    """Runs commands. ``report`` receives what went wrong, before the answer says so in a number."""

    def __init__(self, iommu: Iommu, report: Callable[[Trouble, Context], None]) -> None:
        self._iommu = iommu
        self._report = report

    def execute(self, opcode: int, context: Context, request: dict[str, Any]) -> Reply | None:
        """The answer to an execution message, or None if the command hangs."""
        if opcode == Opcode.EXECUTE_BUFFER_CF:
            commands = iter([start_cu(request["cu_idx"], request["payload"])])
        elif opcode == Opcode.EXEC_DPU:
            code = (request["inst_buf_addr"], request["inst_size"])
            commands = iter([Command(Kind.PARTIAL_ELF, request["cu_idx"], code, tuple(request["payload"]))])
        else:
            return self._chain(opcode, context, request)
        index, status = self._run_all(context, commands)
        return None if index is not None and status is None else Reply(status or 0)

    def _chain(self, opcode: int, context: Context, request: dict[str, Any]) -> Reply | None:
        size, count = request["buf_size"], request["count"]
        if size > MAX_CHAIN:
            raise BadSlot(f"a chain of {size} bytes")
        data = ContextMemory(context, self._iommu).read(request["buf_addr"], size)
        index, status = self._run_all(context, slots(opcode, data, count))
        if index is None:
            return Reply()
        return None if status is None else Reply(status, (index, status))

    def _run_all(self, context: Context, commands: Iterator[Command]) -> tuple[int | None, int | None]:
        """(None, None) if all went well, else the slot's number and its status; (number, None): it hangs."""
        memory = ContextMemory(context, self._iommu)
        index = 0
        try:
            for command in commands:
                self._run(context, command, memory)
                index += 1
        except program.Hang:
            context.hung = index
            return index, None
        except program.Failure as failure:
            return index, failure.status
        except Trouble as trouble:
            self._report(trouble, context)
            return index, int(trouble.status)
        return None, None

    def _run(self, context: Context, command: Command, memory: ContextMemory) -> None:
        if command.kind is not Kind.ELF and command.unit >= len(context.cus):
            raise UnknownUnit(f"command for unit {command.unit}, CONFIG_CU set up {len(context.cus)}")
        for address, size in command.touched:
            if size:
                memory.read(address, 1)
                memory.read(address + size - 1, 1)
        address, size = command.code
        if size:
            if size > program.LONGEST:
                raise BadSlot(f"an instruction buffer of {size} bytes")
            program.run(memory.read(address, size), command.arguments, memory)
        context.completed += 1
