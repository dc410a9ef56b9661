# SPDX-License-Identifier: GPL-2.0-only
"""The management firmware: comes alive, takes messages from its channels, answers them as the script
allows.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import Any

from harness.npu.board import Board
from harness.npu.codes import Opcode, Status
from harness.npu.commands import Executor
from harness.npu.contexts import Context, ContextMessages, Reply
from harness.npu.generations import MAGIC
from harness.npu.heap import HeapError
from harness.npu.iommu import Iommu
from harness.npu.mailbox import RING, BadRing, Channel, Packet, Slot
from harness.npu.management import AsyncError, Management
from harness.npu.messages import EXECUTIONS, MESSAGES, MGMT, Message
from harness.npu.script import Occurrence, Rule
from harness.npu.trouble import ProtocolError, Trouble
from harness.vfio_user.region import SharedRegion

_WORD = struct.Struct("<I")
_INFO = struct.Struct("<12I16x")
"""struct mgmt_mbox_chann_info (aie2_pci.c)."""
_NO_RULE = Rule("opcode", 0)


class Firmware:
    """``interrupt`` raises the MSI-X vector of that number. ``contiguous``: see heap.Heap."""

    def __init__(
        self,
        board: Board,
        sram: SharedRegion,
        iommu: Iommu,
        interrupt: Callable[[int], None],
        contiguous: bool,
    ) -> None:
        self._board = board
        self._sram = sram
        self._interrupt = interrupt
        self._channels: dict[int, Channel] = {}
        self.alive = False
        self.management = Management(board, iommu, contiguous, self._open, self._close)
        self._context_messages = ContextMessages(iommu)
        self._executor = Executor(iommu, self._report_in)
        for number in (0, *board.generation.mailbox.slots):
            slot = Slot(number, board.generation.mailbox)
            slot.define(board.registers)
            board.registers.define(slot.x2i_tail, partial(self._doorbell, number))
            board.registers.define(slot.i2x_head, partial(self._head_moved, number))

    # Boot and stop

    def boot(self) -> None:
        """Open the management channel and tell the driver where it is, unless the script keeps us dead."""
        self.stop()
        if self._board.script.find(Occurrence("boot", "dead")):
            self._board.log.event("boot", alive=False)
            return
        places = self._board.generation.mailbox
        slot = Slot(0, places)
        self._open(MGMT, slot)
        info = _INFO.pack(
            slot.device_address(slot.x2i_tail),
            slot.device_address(slot.x2i_head),
            slot.ring_address(slot.x2i_ring),
            RING,
            slot.device_address(slot.i2x_tail),
            slot.device_address(slot.i2x_head),
            slot.ring_address(slot.i2x_ring),
            RING,
            MAGIC,
            0,
            *self._board.protocol,
        )
        self._sram.view[places.info : places.info + len(info)] = info
        _WORD.pack_into(self._sram.view, places.alive, places.sram_base + places.info)
        self.alive = True
        self._board.log.event("boot", alive=True, protocol="{}.{}".format(*self._board.protocol))

    def stop(self) -> None:
        """Stop at once: nothing is answered any more."""
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()
        self.management.boot()
        self.alive = False

    def _open(self, name: str, slot: Slot) -> Channel:
        vector = 0 if name == MGMT else 1 + self._board.generation.mailbox.slots.index(slot.number)
        channel = Channel(name, slot, self._board.registers, self._sram.view, lambda: self._interrupt(vector))
        self._channels[slot.number] = channel
        return channel

    def _close(self, channel: Channel) -> None:
        channel.close()
        self._channels.pop(channel.slot.number, None)

    # Doorbells

    def _doorbell(self, number: int, value: int) -> None:
        channel = self._channels.get(number)
        if channel is None:
            self._board.log.event("protocol-error", what=f"doorbell of channel slot {number}, which is closed")
        elif self._board.latency:
            self._board.loop.call_later(self._board.latency, lambda: self._serve(channel))
        else:
            self._serve(channel)

    def _head_moved(self, number: int, value: int) -> None:
        channel = self._channels.get(number)
        if channel is not None:
            channel.drain()

    def _serve(self, channel: Channel) -> None:
        try:
            while channel.open:
                packet = channel.receive()
                if packet is None:
                    return
                self._handle(channel, packet)
        except BadRing as bad:
            self._board.log.event("protocol-error", channel=channel.name, what=f"bad ring: {bad}")
            self._close(channel)

    # Messages

    def _handle(self, channel: Channel, packet: Packet) -> None:
        message = MESSAGES.get(packet.opcode)
        if message is None:
            self._unknown(channel, packet)
            return
        context = self._context_of(channel)
        request: dict[str, Any] = {}
        if message.size_fits(len(packet.payload)):
            request = message.decode(packet.payload)
        where = request.get("context_id", context.id if context else None)
        rule = self._board.script.find(Occurrence("opcode", packet.opcode, channel.name, where)) or _NO_RULE
        if rule.drop:
            if context and message.opcode in EXECUTIONS:
                context.hung = context.hung or 0
            self._log(channel, packet, request, None, "dropped")
            return
        reply = Reply(rule.status) if rule.status else self._perform(channel, packet, message, request)
        if reply is None:
            self._log(channel, packet, request, None, "dropped" if message.answered else "kept")
            return
        if rule.malform == "garbage":
            payload = message.garbage(reply.status)
        else:
            payload = message.refusal(rule.status) if rule.status else message.pack(reply.status, reply.values)
        self._log(channel, packet, request, reply.status, _action(rule))
        self._answer(channel, packet, payload, rule)

    def _answer(self, channel: Channel, packet: Packet, payload: bytes, rule: Rule) -> None:
        def send() -> None:
            if channel.open:
                channel.answer(packet, payload, rule.malform)
            else:
                self._board.log.event("answer-lost", channel=channel.name, opcode=packet.opcode, id=packet.id)

        if rule.delay:
            self._board.loop.call_later(rule.delay, send)
        else:
            send()

    def _perform(self, channel: Channel, packet: Packet, message: Message, request: dict[str, Any]) -> Reply | None:
        """Do what the message says; None if it is not answered (now). Trouble becomes an event and a
        status.
        """
        context = self._context_of(channel)
        if context and context.hung is not None:
            return None
        try:
            self._check(channel, packet, message)
            if message.opcode is Opcode.REGISTER_ASYNC_EVENT:
                self.management.register_async_event(channel, packet, request)
                return None
            if context is None:
                return self.management.handlers[packet.opcode](request)
            if message.opcode in EXECUTIONS:
                return self._executor.execute(packet.opcode, context, request)
            return self._context_messages.handlers[packet.opcode](context, request)
        except Trouble as trouble:
            self._report(trouble, channel, message, request)
            return Reply(int(trouble.status))
        finally:
            for noted in self.management.noted:
                self._report(noted, channel, message, request)
            self.management.noted.clear()

    def _check(self, channel: Channel, packet: Packet, message: Message) -> None:
        if (channel.name == MGMT) != (message.channel == MGMT):
            raise ProtocolError(f"{message.name} on channel {channel.name}")
        if not self.management.supports(message.name):
            version = "{}.{}".format(*self._board.protocol)
            if message.opcode is Opcode.ADD_HOST_BUFFER:
                raise HeapError("not-supported", f"protocol {version} has no {message.name}", Status.INVALID_COMMAND)
            raise ProtocolError(f"protocol {version} has no {message.name}")
        if not message.size_fits(len(packet.payload)):
            raise ProtocolError(f"{message.name} of {len(packet.payload)} bytes")
        if self.management.suspended and message.opcode not in (Opcode.SUSPEND, Opcode.RESUME):
            raise ProtocolError(f"{message.name} while the firmware is suspended")

    def _context_of(self, channel: Channel) -> Context | None:
        if channel.name == MGMT:
            return None
        return next((c for c in self.management.contexts.values() if c.channel is channel), None)

    def _unknown(self, channel: Channel, packet: Packet) -> None:
        self._board.log.fault(f"unknown opcode {packet.opcode:#x} on channel {channel.name}")
        self._log(channel, packet, {"payload": packet.payload.hex()}, Status.INVALID_COMMAND, "answered")
        channel.answer(packet, _WORD.pack(Status.INVALID_COMMAND))

    # The log

    def _log(self, channel: Channel, packet: Packet, request: dict[str, Any], status: int | None, action: str) -> None:
        message = MESSAGES.get(packet.opcode)
        self._board.log.add(
            channel=channel.name,
            opcode=packet.opcode,
            name=message.name if message else "UNKNOWN",
            id=packet.id,
            request=request,
            status=status,
            action=action,
        )

    def _report(self, trouble: Trouble, channel: Channel, message: Message, request: dict[str, Any]) -> None:
        where = {"context": request["context_id"]} if "context_id" in request else {}
        self._note(trouble, channel=channel.name, opcode=message.name, **where)

    def _report_in(self, trouble: Trouble, context: Context) -> None:
        self._note(trouble, channel=context.channel.name, context=context.id)

    def _note(self, trouble: Trouble, **where: Any) -> None:
        if trouble.event == "fault":
            self._board.log.fault(trouble.what)
        else:
            self._board.log.event(trouble.event, what=trouble.what, **trouble.fields, **where)

    # Errors of the array

    def async_error(self, error: AsyncError) -> None:
        """Answer the oldest REGISTER_ASYNC_EVENT with an error. Raises LookupError, Trouble."""
        channel, packet = self.management.take_async_event(error)
        message = MESSAGES[Opcode.REGISTER_ASYNC_EVENT]
        self._log(channel, packet, message.decode(packet.payload), Status.AIE_ACCESS_ERROR, "answered")
        channel.answer(packet, message.pack(Status.AIE_ACCESS_ERROR))


def _action(rule: Rule) -> str:
    if rule.malform:
        return "malformed"
    return "late" if rule.delay else "answered"
