# SPDX-License-Identifier: GPL-2.0-only
"""A client's device heap, as user space has to build it.

The driver wants the chunks at consecutive user addresses: an area as large as the largest heap is reserved,
and chunk after chunk is mapped into it. A chunk counts once it has been mapped.
(amdxdna_gem.c, amdxdna_init_dev_bo(), Linux 7.3; amd/xdna-driver's shim does the same.)
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.drm import memory
from harness.drm.client import Client
from harness.drm.memory import Mapping
from harness.drm.structs import BoType

MIB = 1 << 20
CHUNK = 64 * MIB
"""dev_mem_size of NPU1, 4, 5 and 6."""
MAX_HEAP = 512 * MIB
"""dev_heap_max_size of NPU4, 5 and 6 (NPU1: one chunk)."""
DEVICE_BASE = 0x4000000
"""dev_mem_base: the NPU's address of the heap's first byte."""
DEV_ALIGNMENT = 32 * 1024
"""What DEV BO addresses are aligned to (dev_mem_buf_shift 15)."""


@dataclass
class Chunk:
    """One DEV_HEAP buffer of ``size`` bytes; ``offset`` is where it begins in the heap."""

    handle: int
    size: int
    offset: int
    mapping: Mapping | None = None


class Heap:
    """The heap of one client: the reserved area and the chunks in it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.chunks: list[Chunk] = []
        self.base = memory.reserve(MAX_HEAP, CHUNK)

    @property
    def size(self) -> int:
        """Bytes in all chunks, mapped or not."""
        return sum(chunk.size for chunk in self.chunks)

    def create_chunk(self, size: int = CHUNK) -> Chunk:
        """Create the next chunk and leave it unmapped. Raises OSError."""
        handle = self.client.create_bo(BoType.DEV_HEAP, size)
        chunk = Chunk(handle, size, self.size)
        self.chunks.append(chunk)
        return chunk

    def map_chunk(self, chunk: Chunk, address: int = 0) -> Mapping:
        """Map a chunk behind the one before it, or at ``address``. Raises OSError."""
        where = address or self.base + chunk.offset
        chunk.mapping = self.client.map_bo(chunk.handle, chunk.size, address=where)
        return chunk.mapping

    def add_chunk(self, size: int = CHUNK) -> Chunk:
        """Create the next chunk and map it. Raises OSError."""
        chunk = self.create_chunk(size)
        self.map_chunk(chunk)
        return chunk

    def unmap_chunk(self, chunk: Chunk) -> None:
        """Unmap a chunk; its place in the area stays reserved."""
        if chunk.mapping is None:
            raise ValueError("this chunk is not mapped")
        mapping, chunk.mapping = chunk.mapping, None
        self.client.unmap(mapping)
        flags = memory.MAP_PRIVATE | memory.MAP_ANONYMOUS | memory.MAP_NORESERVE | memory.MAP_FIXED
        memory.mmap(mapping.address, mapping.size, memory.PROT_NONE, flags)

    def create_dev(self, size: int) -> int:
        """Create a DEV BO in the heap: its handle. Raises OSError, EAGAIN when a chunk is missing."""
        return self.client.create_bo(BoType.DEV, size)

    def allocate(self, size: int) -> int:
        """Create a DEV BO as user space does: after EAGAIN, add a chunk and try again. Raises OSError."""
        while True:
            try:
                return self.create_dev(size)
            except BlockingIOError:
                self.add_chunk()

    def view(self, dev: int, size: int) -> Mapping:
        """The memory of a DEV BO in this process, at the address that the driver tells."""
        return Mapping(self.client.bo_info(dev).vaddr, size)

    def release(self) -> None:
        """Give the reserved area back; the chunks must be unmapped (:meth:`Client.close` does that)."""
        memory.munmap(self.base, MAX_HEAP)
