# SPDX-License-Identifier: GPL-2.0-only
"""What the messages on the management channel do (driver: aie2_message.c, aie2_pci.c, aie2_error.c)."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.npu.board import Board
from harness.npu.codes import Opcode, Status
from harness.npu.contexts import Context, Reply
from harness.npu.heap import Heap, HeapError
from harness.npu.iommu import Iommu
from harness.npu.mailbox import RING, Channel, Packet, Slot
from harness.npu.trouble import InvalidParameter, ProtocolError

FIRMWARE_VERSION = (1, 1, 2, 33)
"""Major, minor, sub, build (ours)."""
AIE_VERSION = (2, 0)
_HEALTH = struct.Struct("<HHIIIII6I508xI")
"""struct app_health_report: 560 bytes."""
_NOTHING_RUNS = 0xFFFFFFFF
_TELEMETRY = struct.Struct("<4I")
_ERRORS = struct.Struct("<III")
_ERROR = struct.Struct("<BBxxIBxxx")


class NoRoom(ProtocolError):
    """All contexts are taken."""

    status = Status.MGMT_NOAVAIL


@dataclass(frozen=True)
class AsyncError:
    """An error of the AIE array: where and which event (aie2_error.c has the tables of events), ``count``
    times.
    """

    row: int = 2
    col: int = 0
    module: int = 1
    event: int = 55
    count: int = 1


class Management:
    """The firmware's state, and a handler per message.

    ``open_channel`` opens the mailbox channel of a new context, ``close_channel`` closes it.
    """

    def __init__(
        self,
        board: Board,
        iommu: Iommu,
        contiguous: bool,
        open_channel: Callable[[str, Slot], Channel],
        close_channel: Callable[[Channel], None],
    ) -> None:
        self._board = board
        self._iommu = iommu
        self._contiguous = contiguous
        self._open_channel = open_channel
        self._close_channel = close_channel
        self.contexts: dict[int, Context] = {}
        self.suspended = False
        self.settings: dict[int, int] = {}
        self.time_quota: dict[int, int] = {}
        self._waiting: deque[tuple[Channel, Packet, int, int]] = deque()
        self.noted: list[HeapError] = []
        self.handlers: dict[int, Callable[[dict[str, Any]], Reply]] = {
            Opcode.CREATE_CONTEXT: self._create_context,
            Opcode.DESTROY_CONTEXT: self._destroy_context,
            Opcode.GET_TELEMETRY: self._get_telemetry,
            Opcode.QUERY_COL_STATUS: self._query_col_status,
            Opcode.QUERY_AIE_TILE_INFO: self._query_tile_info,
            Opcode.QUERY_AIE_VERSION: lambda request: Reply(values=AIE_VERSION),
            Opcode.SUSPEND: self._suspend,
            Opcode.RESUME: self._resume,
            Opcode.ASSIGN_MGMT_PASID: lambda request: Reply(),
            Opcode.MAP_HOST_BUFFER: self._map_host_buffer,
            Opcode.ADD_HOST_BUFFER: self._add_host_buffer,
            Opcode.GET_FIRMWARE_VERSION: lambda request: Reply(values=FIRMWARE_VERSION),
            Opcode.SET_RUNTIME_CONFIG: self._set_runtime_config,
            Opcode.GET_RUNTIME_CONFIG: self._get_runtime_config,
            Opcode.UPDATE_PROPERTY: self._update_property,
            Opcode.GET_APP_HEALTH: self._get_app_health,
            Opcode.GET_DEV_REVISION: lambda request: Reply(values=(board.generation.dev_revision, 0)),
            Opcode.GET_PROTOCOL_VERSION: lambda request: Reply(values=tuple(board.protocol)),
        }

    def boot(self) -> None:
        """Forget everything: the state of a firmware that was just started, or stopped."""
        self.contexts.clear()
        self.suspended = False
        self.settings.clear()
        self.time_quota.clear()
        self._waiting.clear()
        self._set_wait_mode(0)

    def supports(self, name: str) -> bool:
        """Whether the firmware's protocol version has a message."""
        since = self._board.generation.since.get(name)
        return since is None or self._board.protocol >= since

    def _context(self, request: dict[str, Any]) -> Context:
        context = self.contexts.get(request["context_id"])
        if context is None:
            raise InvalidParameter(f"there is no context {request['context_id']}")
        return context

    def _set_wait_mode(self, value: int) -> None:
        self._board.registers.set(self._board.generation.psp.wait_mode, value)

    def _suspend(self, request: dict[str, Any]) -> Reply:
        self.suspended = True
        self._set_wait_mode(1)
        return Reply()

    def _resume(self, request: dict[str, Any]) -> Reply:
        self.suspended = False
        self._set_wait_mode(0)
        return Reply()

    def _create_context(self, request: dict[str, Any]) -> Reply:
        generation = self._board.generation
        start, count = request["start_col"], request["num_col"]
        if not count or start + count > generation.array.columns:
            raise InvalidParameter(f"columns {start} to {start + count} of {generation.array.columns}")
        identity = next((n for n in range(generation.contexts) if n not in self.contexts), None)
        if identity is None:
            raise NoRoom(f"all {generation.contexts} contexts are taken")
        slot = Slot(generation.mailbox.slots[identity], generation.mailbox)
        channel = self._open_channel(f"ctx{identity}", slot)
        heap = Heap(generation.heap_maximum, self._contiguous)
        self.contexts[identity] = Context(identity, channel, request["pasid"], start, count, heap)
        x2i = (slot.x2i_head, slot.x2i_tail, slot.x2i_ring)
        i2x = (slot.i2x_head, slot.i2x_tail, slot.i2x_ring)
        queues = [
            word
            for head, tail, ring in (x2i, i2x)
            for word in (
                slot.device_address(head),
                slot.device_address(tail),
                slot.ring_address(ring),
                RING,
            )
        ]
        return Reply(values=(identity, identity + 1, 1, 0, *queues))

    def _destroy_context(self, request: dict[str, Any]) -> Reply:
        context = self._context(request)
        del self.contexts[context.id]
        self._close_channel(context.channel)
        return Reply()

    def _heap(self, request: dict[str, Any]) -> Heap:
        context = self.contexts.get(request["context_id"])
        if context is None:
            raise HeapError(
                "unknown-context", f"there is no context {request['context_id']}", Status.MGMT_INVALID_PARAM
            )
        return context.heap

    def _map_host_buffer(self, request: dict[str, Any]) -> Reply:
        self._heap(request).map(request["buf_addr"], request["buf_size"])
        return Reply()

    def _add_host_buffer(self, request: dict[str, Any]) -> Reply:
        noted = self._heap(request).add(request["buf_addr"], request["buf_size"])
        if noted:
            self.noted.append(noted)
        return Reply()

    def _set_runtime_config(self, request: dict[str, Any]) -> Reply:
        self.settings[request["type"]] = request["value"]
        return Reply()

    def _get_runtime_config(self, request: dict[str, Any]) -> Reply:
        return Reply(values=(self.settings.get(request["type"], 0),))

    def _update_property(self, request: dict[str, Any]) -> Reply:
        self.time_quota[request["context_id"]] = request["time_quota_us"]
        return Reply()

    def _query_tile_info(self, request: dict[str, Any]) -> Reply:
        """struct aie_tile_info: an array as NPU4 has it, with the generation's number of columns."""
        array = self._board.generation.array
        rows = (array.rows, array.core_rows, 1, 1)
        row_starts = (2, 1, 0)
        dma_channels, locks, events = (2, 6, 2), (16, 64, 16), (128, 160, 128)
        words = (*AIE_VERSION, array.columns, *rows, *row_starts, *dma_channels, *locks, *events, 0)
        return Reply(values=(array.column_bytes, *words))

    def _query_col_status(self, request: dict[str, Any]) -> Reply:
        """Zeros for every asked column."""
        size = request["num_cols"] * self._board.generation.array.column_bytes
        if size > request["buf_size"]:
            raise InvalidParameter(f"status of {request['num_cols']} columns in {request['buf_size']} bytes")
        self._iommu.write(0, request["buf_addr"], bytes(size))
        return Reply(values=(size,))

    def _get_telemetry(self, request: dict[str, Any]) -> Reply:
        """Four words: the type, how many contexts live, how many commands they completed, the log's
        length.
        """
        completed = sum(context.completed for context in self.contexts.values())
        data = _TELEMETRY.pack(request["type"], len(self.contexts), completed, len(self._board.log.entries))
        data = data[: request["buf_size"]]
        self._iommu.write(0, request["buf_addr"], data)
        return Reply(values=(1, 0, len(data)))

    def _get_app_health(self, request: dict[str, Any]) -> Reply:
        """A report that says which slot hangs, or that nothing runs."""
        context = self._context(request)
        runs = 0 if context.hung is not None else _NOTHING_RUNS
        report = _HEALTH.pack(1, 0, _HEALTH.size, context.id, runs, runs, 0, *[0] * 6, context.hung or 0)
        self._iommu.write(0, request["buf_addr"], report[: request["buf_size"]])
        return Reply(values=(_HEALTH.size,))

    def register_async_event(self, channel: Channel, packet: Packet, request: dict[str, Any]) -> None:
        """Keep a buffer for the next error; its message is answered then."""
        self._waiting.append((channel, packet, request["buf_addr"], request["buf_size"]))

    @property
    def registered(self) -> int:
        """Buffers that wait for an error."""
        return len(self._waiting)

    @property
    def hears_errors(self) -> bool:
        """Whether the driver has left a buffer for the next asynchronous error."""
        return bool(self._waiting)

    def take_async_event(self, error: AsyncError) -> tuple[Channel, Packet]:
        """Write an error into the oldest registered buffer; the message that registered it is now to be
        answered.

        Raises LookupError when none is registered or the error does not fit, IommuFault.
        """
        if not self._waiting:
            raise LookupError("the driver has registered no buffer for asynchronous errors")
        channel, packet, address, size = self._waiting[0]
        one = _ERROR.pack(error.row, error.col, error.module, error.event)
        data = _ERRORS.pack(error.count, 0, 0) + one * error.count
        if len(data) > size:
            raise LookupError(f"{error.count} errors do not fit into {size} bytes")
        self._iommu.write(0, address, data)
        self._waiting.popleft()
        return channel, packet
