# SPDX-License-Identifier: GPL-2.0-only
"""The device heap of one context: host buffers in the order they were announced, from device address
0x4000000 up.

MAP_HOST_BUFFER comes first, ADD_HOST_BUFFER extends what is there by 64 MiB. Neither says a device
address: it follows from the order. Kernels before 7.2 send one MAP with the whole heap, any multiple of 64
MiB.

What is an error here, and whether it is refused, is an assumption where the driver does not show it: the
real firmware is closed. Refused: mapped-twice, not-mapped, invalid-address, wrong-size, announced-twice,
overlap, beyond-maximum. Noted but accepted: not-contiguous (process addresses that do not follow the chunk
before; user space wants them to, but with force_iova every chunk has an address of its own, so the device
must cope). A refused announcement changes nothing, so the driver may announce the same chunk again.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.npu.codes import Status
from harness.npu.generations import HEAP_BASE, HEAP_CHUNK, HEAP_WINDOW
from harness.npu.trouble import Trouble

ADDRESSABLE = 1 << 32
"""CONFIG_CU has 17 bits for an address in units of 32 KiB: a heap cannot end behind this."""
_PAGE = 4096


class HeapError(Trouble):
    """A mistake in the driver's announcements or in a command's use of them. ``kind`` is one word for a
    test.
    """

    event = "heap-error"
    status = Status.INVALID_PARAM

    def __init__(self, kind: str, what: str, status: Status = Status.INVALID_PARAM) -> None:
        super().__init__(what, kind=kind)
        self.kind = kind
        self.status = status


@dataclass(frozen=True)
class HostBuffer:
    """A piece of the heap: device address, host address (process, IOVA or bus, by address mode), bytes."""

    device: int
    host: int
    size: int

    @property
    def host_end(self) -> int:
        return self.host + self.size


def in_heap(address: int) -> bool:
    """Whether an address in a command is a device address of the heap; all others are host addresses."""
    return HEAP_BASE <= address < HEAP_BASE + HEAP_WINDOW


class Heap:
    """``maximum`` is the largest heap in bytes that ADD_HOST_BUFFER may make; ``contiguous``: host
    addresses of one context are expected to follow each other.
    """

    def __init__(self, maximum: int, contiguous: bool) -> None:
        self._maximum = maximum
        self._contiguous = contiguous
        self.buffers: list[HostBuffer] = []

    @property
    def size(self) -> int:
        return sum(buffer.size for buffer in self.buffers)

    def map(self, host: int, size: int) -> None:
        """MAP_HOST_BUFFER. Raises HeapError when it is refused."""
        if self.buffers:
            raise HeapError("mapped-twice", f"the heap is mapped at {self.buffers[0].host:#x} already")
        if size == 0 or size % HEAP_CHUNK:
            raise HeapError("wrong-size", f"MAP_HOST_BUFFER of {size:#x} bytes, not a multiple of {HEAP_CHUNK:#x}")
        if HEAP_BASE + size > ADDRESSABLE:
            raise HeapError("beyond-maximum", f"MAP_HOST_BUFFER of {size:#x} bytes")
        self._check_address(host, size)
        self.buffers.append(HostBuffer(HEAP_BASE, host, size))

    def add(self, host: int, size: int) -> HeapError | None:
        """ADD_HOST_BUFFER. Raises HeapError when it is refused; returns one that was noted but accepted."""
        if not self.buffers:
            raise HeapError("not-mapped", "ADD_HOST_BUFFER before MAP_HOST_BUFFER")
        if size != HEAP_CHUNK:
            raise HeapError("wrong-size", f"ADD_HOST_BUFFER of {size:#x} bytes, not {HEAP_CHUNK:#x}")
        self._check_address(host, size)
        for buffer in self.buffers:
            if buffer.host <= host and host + size <= buffer.host_end:
                raise HeapError("announced-twice", f"{host:#x} was announced already, for {buffer.device:#x}")
            if buffer.host < host + size and host < buffer.host_end:
                raise HeapError("overlap", f"{host:#x} overlaps the buffer at {buffer.host:#x}")
        if self.size + size > self._maximum:
            raise HeapError("beyond-maximum", f"the heap has its {self._maximum:#x} bytes already")
        last = self.buffers[-1]
        self.buffers.append(HostBuffer(last.device + last.size, host, size))
        if self._contiguous and host != last.host_end:
            return HeapError("not-contiguous", f"{host:#x} does not follow {last.host:#x}, of {last.size:#x} bytes")
        return None

    def _check_address(self, host: int, size: int) -> None:
        if host == 0 or host % _PAGE or host + size > 1 << 64:
            raise HeapError("invalid-address", f"host address {host:#x}")

    def resolve(self, device: int, size: int) -> list[tuple[int, int]]:
        """The host pieces (address, bytes) of a range of device addresses.

        Raises HeapError "not-announced" if a byte of it lies in no announced buffer.
        """
        pieces: list[tuple[int, int]] = []
        at, left = device, size
        for buffer in self.buffers:
            offset = at - buffer.device
            if left and 0 <= offset < buffer.size:
                part = min(left, buffer.size - offset)
                pieces.append((buffer.host + offset, part))
                at += part
                left -= part
        if left:
            raise HeapError(
                "not-announced",
                f"device address {at:#x} ({size:#x} bytes from {device:#x}) is in no announced host buffer",
                Status.INVALID_INPUT_BUFFER,
            )
        return pieces
