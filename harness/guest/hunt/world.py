# SPDX-License-Identifier: GPL-2.0-only
"""What a walk holds. It only knows what the driver said yes to."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from harness.drm import memory
from harness.drm.client import Client, Hwctx
from harness.drm.heap import CHUNK, MAX_HEAP, Chunk, Heap
from harness.drm.memory import Mapping as Mapped
from harness.guest.worker import Worker

T = TypeVar("T")
Numbers = Mapping[str, Any]
MOST_UNITS = 10
"""Chunks of 64 MiB that all files together may have: a guest has 1.5 GiB."""


class NotNow(Exception):
    """What the step needs is not there: it does nothing."""


class Power(Protocol):
    """What a walk asks of the device in sysfs (harness.drm.device)."""

    def power(self, name: str) -> str: ...

    def suspend(self, timeout: float = 15.0) -> None: ...


class Firmware(Protocol):
    """What a walk asks of the emulated NPU (harness.guest.npu)."""

    def script(self, *rules: Mapping[str, Any]) -> None: ...

    def reset(self) -> None: ...


@dataclass
class Buffer:
    """``kind``: dev, share, cmd, user, shared, chunk. ``size`` in bytes, 0 where it is not known. ``whole``: all of it
    is mapped, and may be touched."""

    handle: int
    kind: str
    size: int = 0
    mapping: Mapped | None = None
    whole: bool = False
    address: int = 0
    chunk: Chunk | None = None


@dataclass
class Context:
    """``worker``: what a command needs, once it was set up; ``seq``: the last command that was not waited for."""

    hwctx: Hwctx
    worker: Worker | None = None
    seq: int | None = None


@dataclass
class File:
    """An open file with its heap."""

    client: Client
    heap: Heap
    buffers: dict[int, Buffer] = field(default_factory=dict)
    contexts: dict[int, Context] = field(default_factory=dict)
    odd: bool = False
    """A chunk's mapping was cut, moved, protected, or made without memory: what is in the heap must not be touched, and
    may be out of reach."""

    def slot(self, numbers: Numbers) -> int:
        """A free slot. Raises NotNow."""
        if numbers["slot"] in self.buffers:
            raise NotNow
        return int(numbers["slot"])

    def buffer(self, numbers: Numbers) -> Buffer:
        """Raises NotNow."""
        if numbers.get("slot") not in self.buffers:
            raise NotNow
        return self.buffers[numbers["slot"]]

    def context(self, numbers: Numbers) -> Context:
        """Raises NotNow."""
        if numbers["context"] not in self.contexts:
            raise NotNow
        return self.contexts[numbers["context"]]

    def drop(self, buffer: Buffer) -> None:
        """A handle is closed: in every slot that it is in."""
        self.buffers = {slot: each for slot, each in self.buffers.items() if each.handle != buffer.handle}

    @property
    def units(self) -> int:
        return self.heap.size // CHUNK

    def holds(self, memory: Mapped) -> bool:
        """A chunk that is mapped has it."""
        maps = [chunk.mapping for chunk in self.heap.chunks if chunk.mapping is not None]
        end = memory.address + memory.size
        return any(m.address <= memory.address and end <= m.address + m.size for m in maps)

    def reachable(self) -> bool:
        """All chunks are mapped, and nothing odd was done to them."""
        return not self.odd and bool(self.heap.chunks) and all(chunk.mapping for chunk in self.heap.chunks)


class World:
    """``open_client`` opens the device; ``call`` makes a step's one system call, during which an allocation may fail.

    What is here is given back by :meth:`close`, in an order that the driver must bear.
    """

    def __init__(
        self, open_client: Callable[[], Client], device: Power, npu: Firmware, most_heap: int = MAX_HEAP
    ) -> None:
        self.open_client = open_client
        self.device = device
        self.npu = npu
        self.most_heap = most_heap
        self.files: dict[int, File] = {}
        self.dma_bufs: dict[int, int] = {}
        self.names: dict[int, tuple[File, int]] = {}
        self.areas: list[Mapped] = []
        self.kept: list[tuple[File, list[Mapped]]] = []
        self.lent = 0
        """Chunks of 64 MiB that went out as dma-bufs."""
        self.together = False
        """Another step is under way."""
        self.failing: Callable[[Callable[[], Any]], Any] | None = None

    def call(self, act: Callable[[], T]) -> T:
        """The result of a step's call, in which an allocation may fail. Raises OSError."""
        if self.failing is None:
            return act()
        result: T = self.failing(act)
        return result

    def file(self, numbers: Numbers) -> File:
        """Raises NotNow."""
        if numbers["file"] not in self.files:
            raise NotNow
        return self.files[numbers["file"]]

    def held(self) -> tuple[File, ...]:
        """All files that the driver has, also those that are closed and only kept by their mappings."""
        return (*self.files.values(), *(file for file, _ in self.kept))

    def room(self, units: int) -> None:
        """Raises NotNow when so many chunks more are too many. Those that a mapping or a dma-buf keeps count too."""
        if sum(file.units for file in self.held()) + self.lent + units > MOST_UNITS:
            raise NotNow

    def asleep_with_contexts(self) -> bool:
        """The next use of the device sets contexts up again."""
        return any(file.contexts for file in self.held()) and self.device.power("runtime_status") != "active"

    def close_file(self, number: int, keep: bool) -> None:
        """Close a file; with ``keep`` its mappings stay, and so does all that the driver has of it."""
        file = self.files.pop(number)
        if keep:
            self.kept.append((file, file.client.leave_mappings()))
        file.client.close()
        if not keep:
            file.heap.release()

    def close(self) -> None:
        """Close what is left."""
        for number in list(self.files):
            self.close_file(number, keep=False)
        for file, mappings in self.kept:
            for mapping in mappings:
                mapping.unmap()
            file.heap.release()
        self.kept.clear()
        for fd in self.dma_bufs.values():
            os.close(fd)
        self.dma_bufs.clear()
        for area in self.areas:
            area.unmap()
        self.areas.clear()


def hole(address: int, size: int) -> None:
    """Take memory away and keep its place: nobody else's memory may come to be there."""
    flags = memory.MAP_PRIVATE | memory.MAP_ANONYMOUS | memory.MAP_NORESERVE | memory.MAP_FIXED
    memory.mmap(address, size, memory.PROT_NONE, flags)
