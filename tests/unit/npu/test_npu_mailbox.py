# SPDX-License-Identifier: GPL-2.0-only
"""Rings, with the driver's side written after amdxdna_mailbox.c."""

from __future__ import annotations

import mmap
import struct

import pytest

from harness.npu.generations import GENERATIONS
from harness.npu.mailbox import RING, TOMBSTONE, BadRing, Channel, Packet, Slot
from harness.npu.registers import Registers

SLOT = Slot(0, GENERATIONS["npu4"].mailbox)
IDENTITY = 0x1D000000


class Driver:
    """One channel and the driver's end of it."""

    def __init__(self) -> None:
        self.registers = Registers(pytest.fail)
        self.sram = mmap.mmap(-1, 0x40000)
        SLOT.define(self.registers)
        self.interrupts = 0
        self.channel = Channel("mgmt", SLOT, self.registers, self.sram, self._interrupt)
        self.tail = self.head = 0

    def _interrupt(self) -> None:
        self.interrupts += 1

    def send(self, opcode: int, payload: bytes, identity: int = IDENTITY) -> None:
        size = 16 + len(payload)
        if self.tail + size > RING - 4:
            struct.pack_into("<I", self.sram, SLOT.x2i_ring + self.tail, TOMBSTONE)
            self.tail = 0
        header = struct.pack("<IIII", len(payload), len(payload) | 1 << 16, identity, opcode)
        at = SLOT.x2i_ring + self.tail
        self.sram[at : at + size] = header + payload
        self.tail += size
        self.registers.set(SLOT.x2i_tail, self.tail)

    def take(self) -> tuple[int, int, bytes] | None:
        """Read one answer: id, opcode, payload."""
        tail = self.registers.get(SLOT.i2x_tail)
        if self.head == tail:
            return None
        size, size_version, identity, opcode = struct.unpack_from("<IIII", self.sram, SLOT.i2x_ring + self.head)
        if size == TOMBSTONE:
            assert self.head >= tail
            self.head = 0
            return self.take()
        assert size_version == size | 1 << 16
        assert 16 + size <= (tail - self.head) % RING
        at = SLOT.i2x_ring + self.head + 16
        payload = self.sram[at : at + size]
        self.head += 16 + size
        self.registers.set(SLOT.i2x_head, self.head)
        self.channel.drain()
        return identity, opcode, payload


def test_a_request_and_its_answer() -> None:
    driver = Driver()
    driver.send(0x115, b"ABCDEFGH")
    packet = driver.channel.receive()
    assert packet == Packet(IDENTITY, 0x115, b"ABCDEFGH")
    assert driver.channel.receive() is None
    driver.channel.answer(packet, b"\0\0\0\0")
    assert driver.interrupts == 1
    assert driver.registers.get(SLOT.interrupt) == 1
    assert driver.take() == (IDENTITY, 0x115, b"\0\0\0\0")


def test_thousands_of_messages_wrap_both_rings() -> None:
    driver = Driver()
    for n in range(3000):
        request = struct.pack("<I", n) * (1 + n % 40)
        driver.send(n, request)
        packet = driver.channel.receive()
        assert packet is not None
        assert (packet.opcode, packet.payload) == (n, request)
        driver.channel.answer(packet, request)
        assert driver.take() == (IDENTITY, n, request)


def test_a_full_ring_holds_answers_back_until_there_is_room() -> None:
    driver = Driver()
    for n in range(100):
        driver.channel.answer(Packet(n, n, b""), bytes(84))
    sent = driver.registers.get(SLOT.i2x_tail) // 100
    assert sent < 100
    assert [driver.take() for _ in range(100)] == [(n, n, bytes(84)) for n in range(100)]
    assert driver.take() is None


def test_wrapping_waits_while_the_reader_stands_at_the_start() -> None:
    driver = Driver()
    for n in range(41):
        driver.channel.answer(Packet(n, n, b""), bytes(84))
    assert driver.registers.get(SLOT.i2x_tail) <= RING
    assert [taken[0] for taken in iter(driver.take, None)] == list(range(41))


@pytest.mark.parametrize("tail", [RING + 4, 3, 0xFFFFFFFC])
def test_a_tail_that_cannot_be_is_a_bad_ring(tail: int) -> None:
    driver = Driver()
    driver.registers.set(SLOT.x2i_tail, tail)
    with pytest.raises(BadRing):
        driver.channel.receive()


@pytest.mark.parametrize(
    "header",
    [
        struct.pack("<IIII", 0, 1 << 16, IDENTITY, 1),
        struct.pack("<IIII", 6, 6 | 1 << 16, IDENTITY, 1),
        struct.pack("<IIII", 64, 64 | 1 << 16, IDENTITY, 1),
        struct.pack("<IIII", 4, 8 | 1 << 16, IDENTITY, 1),
        struct.pack("<IIII", 4, 4 | 2 << 16, IDENTITY, 1),
        struct.pack("<IIII", TOMBSTONE, 4 | 1 << 16, IDENTITY, 1),
    ],
)
def test_a_message_that_cannot_be_is_a_bad_ring(header: bytes) -> None:
    driver = Driver()
    driver.sram[: len(header)] = header
    driver.registers.set(SLOT.x2i_tail, 20)
    with pytest.raises(BadRing):
        driver.channel.receive()


def test_malformed_answers_are_malformed_in_their_own_way() -> None:
    def after(kind: str) -> tuple[int, bytes]:
        driver = Driver()
        driver.channel.answer(Packet(IDENTITY, 7, b""), b"\1\0\0\0\2\0\0\0", kind)
        assert driver.interrupts == 1
        return driver.registers.get(SLOT.i2x_tail), driver.sram[SLOT.i2x_ring : SLOT.i2x_ring + 24]

    assert struct.unpack_from("<I", after("size")[1])[0] == 12
    assert struct.unpack_from("<I", after("short")[1])[0] == 4
    assert struct.unpack_from("<I", after("id")[1], 8)[0] == IDENTITY + 0x80
    assert struct.unpack_from("<I", after("magic")[1], 8)[0] >> 24 == 0
    assert after("truncated")[0] == 16
    assert struct.unpack_from("<I", after("zero")[1])[0] == 0
    assert after("tail")[0] > RING
    assert struct.unpack_from("<I", after("tombstone")[1])[0] == TOMBSTONE


def test_a_closed_channel_keeps_nothing_back() -> None:
    driver = Driver()
    for n in range(100):
        driver.channel.answer(Packet(n, n, b""), bytes(84))
    driver.channel.close()
    tail = driver.registers.get(SLOT.i2x_tail)
    driver.registers.set(SLOT.i2x_head, tail)
    driver.channel.drain()
    assert driver.registers.get(SLOT.i2x_tail) == tail
