# SPDX-License-Identifier: GPL-2.0-only
"""vfio-user messages as bytes (QEMU, docs/interop/vfio-user.rst, protocol version 0.x; structures of
linux/vfio.h).

Little endian: client and server run on one host.
"""

from __future__ import annotations

import errno
import json
import struct
from enum import IntEnum

HEADER = struct.Struct("<HHIII")
"""Message id, command, size with this header, flags, error."""

TYPE_MASK, TYPE_REPLY = 0xF, 1
NO_REPLY = 1 << 4
ERROR = 1 << 5

MAX_TRANSFER = 1 << 20
"""Bytes that one read or write may carry, in either direction."""
MAX_MESSAGE = HEADER.size + 16 + MAX_TRANSFER
MAX_FDS = 16
"""File descriptors in one message; QEMU calls a larger offer "malformed max_msg_fds"."""

DMA_MAP = struct.Struct("<IIQQQ")
DMA_UNMAP = struct.Struct("<IIQQ")
DEVICE_INFO = struct.Struct("<IIII")
REGION_INFO = struct.Struct("<IIIIQQ")
IRQ_INFO = struct.Struct("<IIII")
IRQ_SET = struct.Struct("<IIIII")
ACCESS = struct.Struct("<QII")
"""Offset, region, count: in front of the data of a region read or write."""

DMA_READABLE, DMA_WRITEABLE = 1, 2
UNMAP_ALL = 2
DEVICE_FLAGS = 1 | 2
"""VFIO_DEVICE_FLAGS_RESET and VFIO_DEVICE_FLAGS_PCI."""
REGION_READ, REGION_WRITE, REGION_MMAP = 1, 2, 4
IRQ_EVENTFD, IRQ_MASKABLE = 1, 2

IRQ_DATA_NONE, IRQ_DATA_BOOL, IRQ_DATA_EVENTFD = 1, 2, 4
IRQ_ACTION_MASK, IRQ_ACTION_UNMASK, IRQ_ACTION_TRIGGER = 8, 16, 32


class Command(IntEnum):
    """What a client may ask. Those without an entry in connection.py are refused with ENOTSUP."""

    VERSION = 1
    DMA_MAP = 2
    DMA_UNMAP = 3
    DEVICE_GET_INFO = 4
    DEVICE_GET_REGION_INFO = 5
    DEVICE_GET_REGION_IO_FDS = 6
    DEVICE_GET_IRQ_INFO = 7
    DEVICE_SET_IRQS = 8
    REGION_READ = 9
    REGION_WRITE = 10
    DMA_READ = 11
    DMA_WRITE = 12
    DEVICE_RESET = 13
    REGION_WRITE_MULTI = 15
    DEVICE_FEATURE = 16
    MIG_DATA_READ = 17
    MIG_DATA_WRITE = 18


class Refused(Exception):
    """A request that is answered with an error reply; the connection goes on."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Disconnect(Exception):
    """The conversation cannot go on; the text says why."""


def reply(message_id: int, command: int, body: bytes = b"") -> bytes:
    """A reply with its payload."""
    return HEADER.pack(message_id, command, HEADER.size + len(body), TYPE_REPLY, 0) + body


def error_reply(message_id: int, command: int, code: int) -> bytes:
    """An error reply: the header alone, with an errno."""
    return HEADER.pack(message_id, command, HEADER.size, TYPE_REPLY | ERROR, code)


def unpack(layout: struct.Struct, body: bytes, what: str) -> tuple[int, ...]:
    """The fields at the front of a request's payload. Raises Refused(EINVAL) when it is too short."""
    if len(body) < layout.size:
        raise Refused(errno.EINVAL, f"{what} of {len(body)} bytes, {layout.size} are needed")
    return layout.unpack_from(body)


def negotiate(body: bytes) -> bytes:
    """The payload that answers a VERSION request.

    Offers no write_multiple and no twin_socket: what a server offers must be a subset of the client's
    list, and neither is needed. Raises Refused(EINVAL) for another major version or data that is not
    NUL-terminated JSON.
    """
    if len(body) < 4:
        raise Refused(errno.EINVAL, f"VERSION of {len(body)} bytes, 4 are needed")
    major, minor = struct.unpack_from("<HH", body)
    if major != 0:
        raise Refused(errno.EINVAL, f"protocol version {major}.{minor}, only 0.x is spoken here")
    data = body[4:]
    if data:
        if data[-1] != 0:
            raise Refused(errno.EINVAL, "the data of VERSION does not end in NUL")
        try:
            parsed = json.loads(data[:-1])
        except ValueError as error:
            raise Refused(errno.EINVAL, f"the data of VERSION is not JSON: {error}") from error
        if not isinstance(parsed, dict) or not isinstance(parsed.get("capabilities", {}), dict):
            raise Refused(errno.EINVAL, "the capabilities of VERSION are not an object")
    capabilities = {"max_msg_fds": MAX_FDS, "max_data_xfer_size": MAX_TRANSFER, "pgsizes": 4096}
    text = json.dumps({"capabilities": capabilities}).encode() + b"\0"
    return struct.pack("<HH", 0, min(minor, 1)) + text
