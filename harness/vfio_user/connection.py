# SPDX-License-Identifier: GPL-2.0-only
"""One client: its messages become calls of the device, in the order they came.

A request that cannot be right is answered with an error reply and noted; what breaks the framing ends the
connection. The socket never blocks: a client that sends half a message holds up nobody.
"""

from __future__ import annotations

import array
import errno
import os
import select
import socket
from collections.abc import Callable

from harness.vfio_user import wire
from harness.vfio_user.device import Bus, Device
from harness.vfio_user.irqs import IrqRequest, Irqs
from harness.vfio_user.memory import GuestMemory
from harness.vfio_user.wire import Command, Disconnect, Refused

SEND_SECONDS = 5.0
"""How long a client may leave our replies unread."""
_ANCILLARY = socket.CMSG_SPACE(4 * 64)


class Connection:
    """The conversation with one client. ``note`` receives one line about everything that is not as it
    should be.
    """

    def __init__(self, sock: socket.socket, device: Device, note: Callable[[str], None]) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._device = device
        self._note = note
        self._header = b""
        self._body = bytearray()
        self._fds: list[int] = []
        self._negotiated = False
        self._complaints: set[str] = set()
        self.bus = Bus(GuestMemory(), Irqs(device.irqs))
        self._commands: dict[int, Callable[[bytes], bytes]] = {
            Command.VERSION: self._version,
            Command.DMA_MAP: self._dma_map,
            Command.DMA_UNMAP: self._dma_unmap,
            Command.DEVICE_GET_INFO: self._device_info,
            Command.DEVICE_GET_IRQ_INFO: self._irq_info,
            Command.DEVICE_SET_IRQS: self._set_irqs,
            Command.REGION_READ: self._region_read,
            Command.REGION_WRITE: self._region_write,
            Command.DEVICE_RESET: self._reset,
        }

    def close(self) -> None:
        """Let go of everything that came from the client."""
        self._close_fds()
        self.bus.irqs.clear()
        self.bus.memory.clear()
        self._sock.close()

    def on_readable(self) -> None:
        """Take what has come, and serve the message if it is complete. Raises Disconnect."""
        if len(self._header) < wire.HEADER.size and not self._receive_header():
            return
        _, command, size, flags, _ = fields = wire.HEADER.unpack(self._header)
        if not wire.HEADER.size <= size <= wire.MAX_MESSAGE:
            raise Disconnect(f"message of {size} bytes (command {command})")
        if flags & wire.TYPE_MASK:
            raise Disconnect(f"message of type {flags & wire.TYPE_MASK} (command {command}) is no request")
        missing = size - wire.HEADER.size - len(self._body)
        if missing and not self._receive_body(missing):
            return
        body = bytes(self._body)
        self._header = b""
        self._body.clear()
        self._serve(fields[0], command, flags, body)

    def _receive_header(self) -> bool:
        """Read on at the header. Descriptors come with a message's first byte."""
        try:
            data, ancillary, flags, _ = self._sock.recvmsg(
                wire.HEADER.size - len(self._header), _ANCILLARY, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return False
        except ConnectionError as error:
            raise Disconnect(str(error)) from error
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self._fds.extend(array.array("i", payload[: len(payload) & ~3]))
        if flags & socket.MSG_CTRUNC or len(self._fds) > wire.MAX_FDS:
            raise Disconnect(f"more than {wire.MAX_FDS} file descriptors in one message")
        if not data:
            raise Disconnect("half a header, then the end" if self._header else "")
        self._header += data
        return len(self._header) == wire.HEADER.size

    def _receive_body(self, missing: int) -> bool:
        try:
            data = self._sock.recv(missing)
        except BlockingIOError:
            return False
        except ConnectionError as error:
            raise Disconnect(str(error)) from error
        if not data:
            raise Disconnect("half a message, then the end")
        self._body += data
        return len(data) == missing

    def _serve(self, message_id: int, command: int, flags: int, body: bytes) -> None:
        try:
            if command == Command.DEVICE_GET_REGION_INFO and self._negotiated:
                answer, fds = self._region_info(body)
            else:
                answer, fds = self._call(command, body), []
            self._close_fds()
        except Refused as refused:
            self._close_fds()
            self._complain(command, refused.reason)
            if command == Command.VERSION and not self._negotiated:
                self._send(wire.error_reply(message_id, command, refused.code), [])
                raise Disconnect(refused.reason) from refused
            if not flags & wire.NO_REPLY:
                self._send(wire.error_reply(message_id, command, refused.code), [])
            return
        if not flags & wire.NO_REPLY:
            self._send(wire.reply(message_id, command, answer), fds)

    def _call(self, command: int, body: bytes) -> bytes:
        if not self._negotiated and command != Command.VERSION:
            raise Refused(errno.EINVAL, "the first message must be VERSION")
        handler = self._commands.get(command)
        if handler is None and command in Command.__members__.values():
            raise Refused(errno.ENOTSUP, "not supported")
        if handler is None:
            raise Refused(errno.EINVAL, "unknown command")
        return handler(body)

    def _complain(self, command: int, reason: str) -> None:
        name = Command(command).name if command in Command.__members__.values() else str(command)
        text = f"{name} refused: {reason}"
        if text not in self._complaints:
            self._complaints.add(text)
            self._note(text)

    def _send(self, data: bytes, fds: list[int]) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            sent = self._try_send(data, rights)
            while sent < len(data):
                self._wait_writable()
                sent += self._try_send(data[sent:], rights if not sent else [])
        except ConnectionError as error:
            raise Disconnect(str(error)) from error

    def _try_send(self, data: bytes, rights: list[tuple[int, int, array.array[int]]]) -> int:
        try:
            return self._sock.sendmsg([data], rights) if rights else self._sock.send(data)
        except BlockingIOError:
            return 0

    def _wait_writable(self) -> None:
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        if not poll.poll(SEND_SECONDS * 1000):
            raise Disconnect(f"the client did not read a reply within {SEND_SECONDS:.0f} s")

    def _close_fds(self) -> None:
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()

    def _version(self, body: bytes) -> bytes:
        if self._negotiated:
            raise Refused(errno.EINVAL, "VERSION twice")
        answer = wire.negotiate(body)
        self._negotiated = True
        return answer

    def _dma_map(self, body: bytes) -> bytes:
        _, flags, offset, address, size = wire.unpack(wire.DMA_MAP, body, "DMA_MAP")
        fd = self._fds.pop(0) if self._fds else None
        self.bus.memory.map(address, size, fd, offset, flags)
        return b""

    def _dma_unmap(self, body: bytes) -> bytes:
        _, flags, address, size = wire.unpack(wire.DMA_UNMAP, body, "DMA_UNMAP")
        if flags & wire.UNMAP_ALL:
            self.bus.memory.clear()
        else:
            self.bus.memory.unmap(address, size)
        return body[: wire.DMA_UNMAP.size]

    def _device_info(self, body: bytes) -> bytes:
        size = wire.DEVICE_INFO.size
        return wire.DEVICE_INFO.pack(size, wire.DEVICE_FLAGS, len(self._device.regions), len(self._device.irqs))

    def _region_info(self, body: bytes) -> tuple[bytes, list[int]]:
        index = wire.unpack(wire.REGION_INFO, body, "GET_REGION_INFO")[2]
        if index >= len(self._device.regions):
            raise Refused(errno.EINVAL, f"there is no region {index}")
        region = self._device.regions[index]
        flags = wire.REGION_READ | wire.REGION_WRITE if region.size else 0
        if region.fd is not None:
            flags |= wire.REGION_MMAP
        info = wire.REGION_INFO.pack(wire.REGION_INFO.size, flags, index, 0, region.size, 0)
        return info, [] if region.fd is None else [region.fd]

    def _irq_info(self, body: bytes) -> bytes:
        index = wire.unpack(wire.IRQ_INFO, body, "GET_IRQ_INFO")[2]
        if index >= len(self._device.irqs):
            raise Refused(errno.EINVAL, f"there is no interrupt type {index}")
        flags = wire.IRQ_EVENTFD | wire.IRQ_MASKABLE
        return wire.IRQ_INFO.pack(wire.IRQ_INFO.size, flags, index, self._device.irqs[index])

    def _set_irqs(self, body: bytes) -> bytes:
        _, flags, index, start, count = wire.unpack(wire.IRQ_SET, body, "SET_IRQS")
        self.bus.irqs.set(IrqRequest(flags, index, start, count, body[wire.IRQ_SET.size :], self._fds))
        return b""

    def _region_read(self, body: bytes) -> bytes:
        offset, region, count = self._access(body)
        return body[:16] + self._device.read(region, offset, count)

    def _region_write(self, body: bytes) -> bytes:
        offset, region, count = self._access(body)
        if len(body) != 16 + count:
            raise Refused(errno.EINVAL, f"a write of {count} bytes carries {len(body) - 16}")
        self._device.write(region, offset, body[16:])
        return body[:16]

    def _access(self, body: bytes) -> tuple[int, int, int]:
        if len(body) < 16:
            raise Refused(errno.EINVAL, f"an access of {len(body)} bytes, 16 are needed")
        offset, region, count = wire.ACCESS.unpack_from(body)
        regions = self._device.regions
        if region >= len(regions) or count > wire.MAX_TRANSFER or offset + count > regions[region].size:
            raise Refused(errno.EINVAL, f"region {region}, offset {offset:#x}, {count} bytes: outside the device")
        return offset, region, count

    def _reset(self, body: bytes) -> bytes:
        self._device.reset()
        return b""
