# SPDX-License-Identifier: GPL-2.0-only
"""Hardware contexts: what the firmware keeps for each, and the messages on their channels."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from harness.npu.codes import Opcode, Status
from harness.npu.generations import HEAP_BASE
from harness.npu.heap import Heap, in_heap
from harness.npu.iommu import Iommu
from harness.npu.mailbox import Channel
from harness.npu.trouble import ProtocolError

MAX_CUS = 32
CU_ADDRESS_SHIFT = 15
"""amdxdna_pci_drv.h, dev_mem_buf_shift: 32 KiB."""
DEBUG_MAGIC = 0x47424458
_UNREGISTER, _REGISTER = 0, 1


class Reply(NamedTuple):
    """An answer's status and its other values, in the order of messages.py."""

    status: int = Status.SUCCESS
    values: tuple[int, ...] = ()


@dataclass
class Context:
    """One hardware context. ``hung`` is the number of the slot that never ends, when there is one."""

    id: int
    channel: Channel
    pasid: int
    start_col: int
    num_col: int
    heap: Heap
    cus: list[int] = field(default_factory=list)
    debug: tuple[int, int] | None = None
    hung: int | None = None
    completed: int = 0

    def state(self) -> dict[str, Any]:
        """For the control socket."""
        return {
            "id": self.id,
            "pasid": self.pasid,
            "start_col": self.start_col,
            "num_col": self.num_col,
            "cus": self.cus,
            "debug": self.debug,
            "hung": self.hung,
            "completed": self.completed,
            "host_buffers": [
                {"device": buffer.device, "host": buffer.host, "size": buffer.size} for buffer in self.heap.buffers
            ],
        }


class ContextMemory:
    """Addresses as a command of this context means them: device addresses of the heap, else host
    addresses.
    """

    def __init__(self, context: Context, iommu: Iommu) -> None:
        self._heap = context.heap
        self._pasid = context.pasid
        self._iommu = iommu

    def read(self, address: int, size: int) -> bytes:
        """Raises HeapError "not-announced", IommuFault, HarnessFault."""
        return b"".join(self._iommu.read(self._pasid, *piece) for piece in self._host(address, size))

    def write(self, address: int, data: bytes) -> None:
        """Raises as :meth:`read`."""
        done = 0
        for host, size in self._host(address, len(data)):
            self._iommu.write(self._pasid, host, data[done : done + size])
            done += size

    def _host(self, address: int, size: int) -> list[tuple[int, int]]:
        return self._heap.resolve(address, size) if in_heap(address) else [(address, size)]


class ContextMessages:
    """What the messages on a context's channel do, commands apart."""

    def __init__(self, iommu: Iommu) -> None:
        self._iommu = iommu
        self.handlers: dict[int, Callable[[Context, dict[str, Any]], Reply]] = {
            Opcode.CONFIG_CU: self._config_cu,
            Opcode.CONFIG_DEBUG_BO: self._config_debug_bo,
            Opcode.SYNC_BO: self._sync_bo,
        }

    def _config_cu(self, context: Context, request: dict[str, Any]) -> Reply:
        """Each unit's code must lie in the announced heap. The code itself is not looked at."""
        count = request["num_cus"]
        if count > MAX_CUS:
            raise ProtocolError(f"CONFIG_CU with {count} units")
        addresses = [(word & 0x1FFFF) << CU_ADDRESS_SHIFT for word in request["cfgs"][:count]]
        for address in addresses:
            context.heap.resolve(address, 1 << CU_ADDRESS_SHIFT)
        context.cus = addresses
        return Reply()

    def _config_debug_bo(self, context: Context, request: dict[str, Any]) -> Reply:
        offset, size = request["offset"], request["size"]
        if request["config"] == _REGISTER:
            context.heap.resolve(HEAP_BASE + offset, size)
            context.debug = (offset, size)
        elif request["config"] == _UNREGISTER and context.debug == (offset, size):
            context.debug = None
        else:
            raise ProtocolError(f"CONFIG_DEBUG_BO {request['config']} for {offset:#x}, registered is {context.debug}")
        return Reply()

    def _sync_bo(self, context: Context, request: dict[str, Any]) -> Reply:
        """Brings the debug buffer up to date: {u32 magic "XDBG", u32 completed commands} at its start."""
        address, size = HEAP_BASE + request["dst_addr"], request["size"]
        context.heap.resolve(address, size)
        data = struct.pack("<II", DEBUG_MAGIC, context.completed)[:size]
        ContextMemory(context, self._iommu).write(address, data)
        return Reply()
