# SPDX-License-Identifier: GPL-2.0-only
"""The server, over a real unix socket, with a device that does next to nothing."""

from __future__ import annotations

import errno
import mmap
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.vfio_user import wire
from harness.vfio_user.client import Client, ErrorReply
from harness.vfio_user.device import CONFIG_REGION, REGIONS, Bus, Irq, Region
from harness.vfio_user.loop import Loop
from harness.vfio_user.region import SharedRegion
from harness.vfio_user.server import Server
from harness.vfio_user.wire import Command

SIZE = 64


class Toy:
    """Region 0 is plain memory; writing to it raises vector 1. Region 2 can be mapped."""

    def __init__(self) -> None:
        self.shared = SharedRegion("toy", mmap.PAGESIZE)
        self.regions = [Region() for _ in range(REGIONS)]
        self.regions[0] = Region(SIZE)
        self.regions[2] = Region(mmap.PAGESIZE, self.shared.fd)
        self.irqs = (0, 0, 3, 0, 0)
        self.data = bytearray(SIZE)
        self.bus: Bus | None = None
        self.events: list[str] = []

    def attach(self, bus: Bus) -> None:
        self.bus = bus
        self.events.append("attach")

    def detach(self) -> None:
        self.bus = None
        self.events.append("detach")

    def reset(self) -> None:
        self.events.append("reset")

    def read(self, region: int, offset: int, count: int) -> bytes:
        return bytes(self.data[offset : offset + count])

    def write(self, region: int, offset: int, data: bytes) -> None:
        self.data[offset : offset + len(data)] = data
        if self.bus:
            self.bus.irqs.trigger(Irq.MSIX, 1)


class Running:
    """A server in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "device.sock")
        self.loop = Loop()
        self.toy = Toy()
        self.notes: list[str] = []
        self.server = Server(self.path, self.toy, self.loop, self.notes.append)
        self.thread = threading.Thread(target=self.loop.run)
        self.thread.start()

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 5
        while not any(text in note for note in self.notes):
            assert time.monotonic() < deadline, f"{text!r} not in {self.notes}"
            time.sleep(0.001)

    def stop(self) -> None:
        self.loop.call_later(0, self.loop.stop)
        with socket.socket(socket.AF_UNIX) as poke:
            poke.connect(self.path)
            self.thread.join(5)
        assert not self.thread.is_alive()
        self.server.close()
        self.loop.close()
        self.toy.shared.close()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    yield running
    running.stop()


@pytest.fixture
def client(running: Running) -> Iterator[Client]:
    client = Client(running.path)
    yield client
    client.close()


def code(refused: pytest.ExceptionInfo[ErrorReply]) -> int:
    return refused.value.code


def test_device_regions_and_interrupts_are_told(running: Running, client: Client) -> None:
    body, _ = client.request(Command.DEVICE_GET_INFO, wire.DEVICE_INFO.pack(16, 0, 0, 0))
    assert wire.DEVICE_INFO.unpack(body) == (16, 3, REGIONS, 5)
    assert client.region_info(0) == (SIZE, wire.REGION_READ | wire.REGION_WRITE, [])
    assert client.region_info(1) == (0, 0, [])
    body, _ = client.request(Command.DEVICE_GET_IRQ_INFO, wire.IRQ_INFO.pack(16, 0, 2, 0))
    assert wire.IRQ_INFO.unpack(body)[3] == 3


def test_reads_and_writes_reach_the_device(client: Client) -> None:
    client.write(0, 8, b"abcd")
    assert client.read(0, 6, 8) == b"\0\0abcd\0\0"


def test_a_mapped_region_is_shared_memory(running: Running, client: Client) -> None:
    view = client.map_region(2)
    view[:5] = b"hello"
    assert running.toy.shared.view[:5] == b"hello"
    view.close()


def test_an_interrupt_arrives_on_the_clients_eventfd(client: Client) -> None:
    fds = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(3)]
    client.set_irqs(Irq.MSIX, 0, fds)
    client.write(0, 0, b"\0")
    assert os.eventfd_read(fds[1]) == 1
    with pytest.raises(BlockingIOError):
        os.eventfd_read(fds[0])
    for fd in fds:
        os.close(fd)


def test_the_device_sees_memory_until_it_is_taken_away(running: Running, client: Client) -> None:
    fd = os.memfd_create("ram")
    os.write(fd, b"x" * 8192)
    client.dma_map(0x10000, 8192, fd)
    assert running.toy.bus is not None
    assert running.toy.bus.memory.read(0x11FFE, 2) == b"xx"
    with pytest.raises(ErrorReply) as refused:
        client.dma_map(0x11000, 4096, fd)
    assert code(refused) == errno.EEXIST
    client.dma_unmap(0x10000, 8192)
    assert len(running.toy.bus.memory) == 0
    client.dma_map(0x10000, 8192, fd)
    client.dma_unmap(0, 0, wire.UNMAP_ALL)
    assert len(running.toy.bus.memory) == 0
    os.close(fd)


def test_no_reply_means_no_reply_and_order_is_kept(client: Client) -> None:
    body = wire.ACCESS.pack(0, 0, 4) + b"wxyz"
    client.send(Command.REGION_WRITE, body, flags=wire.NO_REPLY)
    assert client.read(0, 0, 4) == b"wxyz"


def test_pipelined_requests_are_answered_in_order(client: Client) -> None:
    sent = [client.send(Command.REGION_READ, wire.ACCESS.pack(0, 0, 4)) for _ in range(20)]
    assert [client.receive()[0] for _ in sent] == sent


def test_a_message_may_come_in_pieces_and_holds_up_nobody(running: Running, client: Client) -> None:
    message = wire.HEADER.pack(7, Command.REGION_READ, 32, 0, 0) + wire.ACCESS.pack(0, 0, 4)
    for at in range(len(message)):
        client.socket.send(message[at : at + 1])
    assert client.receive()[0] == 7
    client.socket.send(message[:10])
    running.loop.call_later(0, lambda: running.notes.append("alive"))
    client.socket.send(message[10:20])
    running.wait_for("alive")
    client.socket.send(message[20:])
    assert client.receive()[0] == 7


@pytest.mark.parametrize(
    ("command", "body", "expected"),
    [
        (Command.REGION_READ, wire.ACCESS.pack(SIZE - 2, 0, 4), errno.EINVAL),
        (Command.REGION_READ, wire.ACCESS.pack(0, 0, 0xFFFFFFFF), errno.EINVAL),
        (Command.REGION_READ, wire.ACCESS.pack((1 << 64) - 1, 0, 4), errno.EINVAL),
        (Command.REGION_READ, wire.ACCESS.pack(0, 1, 4), errno.EINVAL),
        (Command.REGION_READ, wire.ACCESS.pack(0, CONFIG_REGION, 4), errno.EINVAL),
        (Command.REGION_READ, wire.ACCESS.pack(0, 99, 4), errno.EINVAL),
        (Command.REGION_READ, b"short", errno.EINVAL),
        (Command.REGION_WRITE, wire.ACCESS.pack(0, 0, 8) + b"four", errno.EINVAL),
        (Command.DMA_MAP, bytes(8), errno.EINVAL),
        (Command.DMA_MAP, wire.DMA_MAP.pack(32, 3, 0, 0, 0), errno.EINVAL),
        (Command.DMA_UNMAP, bytes(3), errno.EINVAL),
        (Command.DEVICE_GET_REGION_INFO, wire.REGION_INFO.pack(32, 0, 9, 0, 0, 0), errno.EINVAL),
        (Command.DEVICE_GET_IRQ_INFO, wire.IRQ_INFO.pack(16, 0, 5, 0), errno.EINVAL),
        (Command.DEVICE_SET_IRQS, wire.IRQ_SET.pack(20, 0x24, 2, 0, 4), errno.EINVAL),
        (Command.VERSION, struct.pack("<HH", 0, 0), errno.EINVAL),
        (Command.REGION_WRITE_MULTI, bytes(8), errno.ENOTSUP),
        (Command.DEVICE_FEATURE, bytes(8), errno.ENOTSUP),
        (0, b"", errno.EINVAL),
        (4711, b"", errno.EINVAL),
    ],
)
def test_a_wrong_request_is_an_error_reply_and_noted(
    running: Running, client: Client, command: int, body: bytes, expected: int
) -> None:
    with pytest.raises(ErrorReply) as refused:
        client.request(command, body)
    assert code(refused) == expected
    running.wait_for("refused")
    assert client.read(0, 0, 4) == bytes(4)


def test_the_first_message_must_be_version(running: Running) -> None:
    client = Client(running.path, negotiate=False)
    with pytest.raises(ErrorReply):
        client.read(0, 0)
    client.close()


def test_a_wrong_version_ends_the_conversation(running: Running) -> None:
    client = Client(running.path, negotiate=False)
    with pytest.raises(ErrorReply):
        client.negotiate(major=3)
    with pytest.raises(EOFError):
        client.receive()
    client.close()
    running.wait_for("protocol version 3.0")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (wire.HEADER.pack(1, Command.REGION_READ, 8, 0, 0), "message of 8 bytes"),
        (wire.HEADER.pack(1, Command.REGION_READ, 1 << 30, 0, 0), "message of 1073741824 bytes"),
        (wire.HEADER.pack(1, Command.DMA_READ, 16, wire.TYPE_REPLY, 0), "type 1"),
    ],
)
def test_broken_framing_hangs_up_with_a_reason(running: Running, client: Client, header: bytes, reason: str) -> None:
    client.socket.send(header)
    with pytest.raises(EOFError):
        client.receive()
    running.wait_for(reason)


def test_a_client_that_dies_in_a_message_is_noted(running: Running, client: Client) -> None:
    client.socket.send(bytes(5))
    client.close()
    running.wait_for("half a header")


def test_a_second_client_is_turned_away(running: Running, client: Client) -> None:
    other = Client(running.path, negotiate=False)
    with pytest.raises((EOFError, BrokenPipeError, ConnectionResetError)):
        other.negotiate()
    other.close()
    assert client.read(0, 0, 4) == bytes(4)


def test_the_next_client_starts_afresh_and_nothing_leaks(running: Running) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        client = Client(running.path)
        fd = os.memfd_create("ram")
        os.ftruncate(fd, 4096)
        client.dma_map(0, 4096, fd)
        client.set_irqs(Irq.MSIX, 0, [fd])
        os.close(fd)
        client.close()
        running.wait_for("client gone")
        running.notes.clear()
    assert running.toy.events == ["attach", "detach"] * 3
    assert len(os.listdir("/proc/self/fd")) == before


def test_reset_reaches_the_device(running: Running, client: Client) -> None:
    client.request(Command.DEVICE_RESET)
    assert running.toy.events == ["attach", "reset"]


def test_descriptors_that_no_command_takes_are_closed(client: Client) -> None:
    before = len(os.listdir("/proc/self/fd"))
    fd = os.memfd_create("stray")
    for _ in range(5):
        client.request(Command.REGION_READ, wire.ACCESS.pack(0, 0, 4), [fd, fd])
    os.close(fd)
    assert len(os.listdir("/proc/self/fd")) == before
