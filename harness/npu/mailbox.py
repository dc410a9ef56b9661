# SPDX-License-Identifier: GPL-2.0-only
"""Mailbox channels: two rings in SRAM, four ring registers and an interrupt register (driver:
amdxdna_mailbox.c).

x2i is from the driver to the firmware, i2x the other way. Heads and tails are byte offsets. A message
never wraps: a TOMBSTONE in place of a size sends the reader back to 0. A message is {payload size, size |
version << 16, id, opcode} and the payload.
"""

from __future__ import annotations

import mmap
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from harness.npu.generations import MailboxPlaces, Register
from harness.npu.registers import Registers

RING = 0x1000
"""Bytes per ring (ours; must be a power of two)."""
HEADER = struct.Struct("<IIII")
TOMBSTONE = 0xDEADFACE
VERSION = 1
_SLOT_RINGS, _SLOT_REGISTERS = 2 * RING, 0x100
_WORD = struct.Struct("<I")


class BadRing(Exception):
    """The driver's ring cannot be read any further; the text says why."""


@dataclass(frozen=True)
class Slot:
    """Where channel ``number`` lives. The interrupt register lies right behind the i2x head, as the driver
    takes it.
    """

    number: int
    places: MailboxPlaces

    def _register(self, word: int) -> Register:
        return Register(self.places.bar, self.places.registers + self.number * _SLOT_REGISTERS + 4 * word)

    @property
    def x2i_tail(self) -> Register:
        return self._register(0)

    @property
    def x2i_head(self) -> Register:
        return self._register(1)

    @property
    def i2x_head(self) -> Register:
        return self._register(2)

    @property
    def interrupt(self) -> Register:
        return self._register(3)

    @property
    def i2x_tail(self) -> Register:
        return self._register(4)

    @property
    def x2i_ring(self) -> int:
        """Offset in SRAM."""
        return self.places.rings + self.number * _SLOT_RINGS

    @property
    def i2x_ring(self) -> int:
        return self.x2i_ring + RING

    def device_address(self, register: Register) -> int:
        """A register as the firmware names it to the driver."""
        return self.places.base + register.offset

    def ring_address(self, offset: int) -> int:
        """A ring as the firmware names it to the driver."""
        return self.places.sram_base + offset

    def define(self, registers: Registers) -> None:
        """Make the registers known, without a channel behind them."""
        for register in (self.x2i_tail, self.x2i_head, self.i2x_head, self.interrupt, self.i2x_tail):
            registers.define(register)


@dataclass(frozen=True)
class Packet:
    """A request as it stood in the ring."""

    id: int
    opcode: int
    payload: bytes


class Channel:
    """An open channel. ``interrupt`` raises its MSI-X vector."""

    def __init__(
        self, name: str, slot: Slot, registers: Registers, sram: mmap.mmap, interrupt: Callable[[], None]
    ) -> None:
        self.name = name
        self.slot = slot
        self.open = True
        self._registers = registers
        self._sram = sram
        self._interrupt = interrupt
        self._waiting: deque[bytes] = deque()
        for register in (slot.x2i_tail, slot.x2i_head, slot.i2x_head, slot.interrupt, slot.i2x_tail):
            registers.set(register, 0)

    def close(self) -> None:
        """Nothing is sent any more."""
        self.open = False
        self._waiting.clear()

    def receive(self) -> Packet | None:
        """Take the next request out of the ring; None when it is empty. Raises BadRing."""
        slot, registers = self.slot, self._registers
        tail, head = registers.get(slot.x2i_tail), registers.get(slot.x2i_head)
        if tail > RING or tail % 4:
            raise BadRing(f"tail {tail:#x}")
        if head == tail:
            return None
        size = self._word(slot.x2i_ring + head)
        if size == TOMBSTONE:
            if head == 0 or head < tail:
                raise BadRing(f"tombstone at head {head:#x} with tail {tail:#x}")
            registers.set(slot.x2i_head, 0)
            return self.receive()
        end = head + HEADER.size + size
        if not size or size % 4 or end > (tail if tail > head else RING):
            raise BadRing(f"message of {size:#x} bytes at {head:#x} with tail {tail:#x}")
        at = slot.x2i_ring + head
        _, size_and_version, identity, opcode = HEADER.unpack_from(self._sram, at)
        if size_and_version != size | VERSION << 16:
            raise BadRing(f"message of {size:#x} bytes with size and version {size_and_version:#x}")
        registers.set(slot.x2i_head, end)
        return Packet(identity, opcode, self._sram[at + HEADER.size : at + HEADER.size + size])

    def answer(self, packet: Packet, payload: bytes, malform: str | None = None) -> None:
        """Put an answer into the ring and raise the interrupt; when the ring is full, once the driver has
        read on.

        ``malform`` (script.py): "size" has four bytes too many, "short" four too few, "id" answers what was not
        asked, "magic" has an id that is none, "truncated" ends before its payload does, "zero" has no payload,
        "tail" moves the tail out of the ring, "tombstone" sends the reader back although more follows.
        """
        identity = packet.id
        if malform == "size":
            payload += bytes(4)
        elif malform == "short":
            payload = payload[:-4]
        elif malform == "id":
            identity = packet.id & ~0xFF | (packet.id + 0x80) & 0xFF
        elif malform == "magic":
            identity = packet.id & 0xFFFFFF
        elif malform == "zero":
            payload = b""
        message = HEADER.pack(len(payload), len(payload) | VERSION << 16, identity, packet.opcode) + payload
        if malform == "tombstone":
            message = _WORD.pack(TOMBSTONE) + message[4:]
        if malform == "truncated":
            self._put(message[: HEADER.size])
        elif malform == "tail":
            self._registers.set(self.slot.i2x_tail, RING + 4)
        else:
            self._waiting.append(message)
            self.drain()
            return
        self._raise()

    def drain(self) -> None:
        """Send what waits for room in the ring."""
        sent = False
        while self._waiting and self._put(self._waiting[0]):
            self._waiting.popleft()
            sent = True
        if sent:
            self._raise()

    def _put(self, message: bytes) -> bool:
        """Write one message behind the tail; False if the driver has not made room yet."""
        slot, registers, size = self.slot, self._registers, len(message)
        tail, head = registers.get(slot.i2x_tail), registers.get(slot.i2x_head)
        if tail >= head and tail + size > RING - 4:
            if size >= head:
                return False
            _WORD.pack_into(self._sram, slot.i2x_ring + tail, TOMBSTONE)
            tail = 0
        elif tail < head <= tail + size:
            return False
        at = slot.i2x_ring + tail
        self._sram[at : at + size] = message
        registers.set(slot.i2x_tail, tail + size)
        return True

    def _raise(self) -> None:
        self._registers.set(self.slot.interrupt, 1)
        self._interrupt()

    def _word(self, offset: int) -> int:
        return int(_WORD.unpack_from(self._sram, offset)[0])
