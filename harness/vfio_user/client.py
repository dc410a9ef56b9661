# SPDX-License-Identifier: GPL-2.0-only
"""The other side of the protocol: a client without a virtual machine, to test or poke a device with."""

from __future__ import annotations

import array
import json
import mmap
import os
import socket
import struct
from collections.abc import Sequence

from harness.vfio_user import wire
from harness.vfio_user.device import CONFIG_REGION
from harness.vfio_user.wire import Command

TIMEOUT = 10.0


class ErrorReply(Exception):
    """The server refused a request with this errno."""

    def __init__(self, code: int) -> None:
        super().__init__(os.strerror(code))
        self.code = code


class Client:
    """A connection. Every request waits for its reply, 10 s at most."""

    def __init__(self, path: str, negotiate: bool = True) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT)
        self.socket.connect(path)
        self._next = 0
        if negotiate:
            self.version = self.negotiate()

    def close(self) -> None:
        self.socket.close()

    def send(self, command: int, body: bytes = b"", fds: Sequence[int] = (), flags: int = 0) -> int:
        """Send a request and return its message id."""
        self._next = (self._next + 1) & 0xFFFF
        message = wire.HEADER.pack(self._next, command, wire.HEADER.size + len(body), flags, 0) + body
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.socket.sendmsg([message], rights)
        return self._next

    def receive(self) -> tuple[int, int, bytes, list[int]]:
        """The next reply: message id, command, payload, descriptors. Raises ErrorReply, EOFError."""
        fds: list[int] = []
        message_id, command, size, flags, error = wire.HEADER.unpack(self._exactly(wire.HEADER.size, fds))
        body = self._exactly(size - wire.HEADER.size, fds)
        if flags & wire.ERROR:
            raise ErrorReply(error)
        return message_id, command, body, fds

    def _exactly(self, size: int, fds: list[int]) -> bytes:
        data = b""
        while len(data) < size:
            part, ancillary, _, _ = self.socket.recvmsg(size - len(data), socket.CMSG_SPACE(64))
            if not part:
                raise EOFError("the server hung up")
            data += part
            for _, _, payload in ancillary:
                fds.extend(array.array("i", payload))
        return data

    def request(self, command: int, body: bytes = b"", fds: Sequence[int] = ()) -> tuple[bytes, list[int]]:
        """Send a request and wait for its payload and descriptors."""
        sent = self.send(command, body, fds)
        message_id, answered, payload, received = self.receive()
        if (message_id, answered) != (sent, command):
            raise AssertionError(f"reply {message_id} to command {answered}, sent was {sent}, {command}")
        return payload, received

    def negotiate(self, data: bytes | None = None, major: int = 0) -> bytes:
        """Exchange versions; the server's data."""
        offer = {"capabilities": {"max_msg_fds": 8, "max_data_xfer_size": 1 << 20, "write_multiple": True}}
        text = json.dumps(offer).encode() + b"\0" if data is None else data
        return self.request(Command.VERSION, struct.pack("<HH", major, 0) + text)[0]

    def read(self, region: int, offset: int, count: int = 4) -> bytes:
        return self.request(Command.REGION_READ, wire.ACCESS.pack(offset, region, count))[0][16:]

    def write(self, region: int, offset: int, data: bytes) -> None:
        self.request(Command.REGION_WRITE, wire.ACCESS.pack(offset, region, len(data)) + data)

    def read32(self, region: int, offset: int) -> int:
        return int.from_bytes(self.read(region, offset), "little")

    def write32(self, region: int, offset: int, value: int) -> None:
        self.write(region, offset, value.to_bytes(4, "little"))

    def config(self, offset: int, count: int) -> bytes:
        """Bytes of the configuration space."""
        return self.read(CONFIG_REGION, offset, count)

    def region_info(self, index: int) -> tuple[int, int, list[int]]:
        """Size, flags and descriptors of a region."""
        request = wire.REGION_INFO.pack(wire.REGION_INFO.size, 0, index, 0, 0, 0)
        body, fds = self.request(Command.DEVICE_GET_REGION_INFO, request)
        _, flags, _, _, size, _ = wire.REGION_INFO.unpack(body)
        return size, flags, fds

    def map_region(self, index: int) -> mmap.mmap:
        """A region that the server lets us map."""
        size, flags, fds = self.region_info(index)
        if not flags & wire.REGION_MMAP:
            raise AssertionError(f"region {index} cannot be mapped")
        try:
            return mmap.mmap(fds[0], size)
        finally:
            os.close(fds[0])

    def dma_map(self, address: int, size: int, fd: int | None, offset: int = 0, flags: int = 3) -> None:
        """Give the device memory at a bus address."""
        body = wire.DMA_MAP.pack(wire.DMA_MAP.size, flags, offset, address, size)
        self.request(Command.DMA_MAP, body, [] if fd is None else [fd])

    def dma_unmap(self, address: int, size: int, flags: int = 0) -> None:
        self.request(Command.DMA_UNMAP, wire.DMA_UNMAP.pack(wire.DMA_UNMAP.size, flags, address, size))

    def set_irqs(self, index: int, start: int, fds: Sequence[int]) -> None:
        """Let the device signal vectors by eventfds."""
        flags = wire.IRQ_DATA_EVENTFD | wire.IRQ_ACTION_TRIGGER
        body = wire.IRQ_SET.pack(wire.IRQ_SET.size, flags, index, start, len(fds))
        self.request(Command.DEVICE_SET_IRQS, body, fds)
