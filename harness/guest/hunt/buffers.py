# SPDX-License-Identifier: GPL-2.0-only
"""Steps of a walk on buffers, their mappings, and the ways in which they are shared."""

from __future__ import annotations

import errno
import os

from harness.drm import memory
from harness.drm.heap import CHUNK, MAX_HEAP
from harness.drm.memory import PAGE
from harness.drm.structs import BoType
from harness.guest.hunt import oracle
from harness.guest.hunt.oracle import Broken
from harness.guest.hunt.world import Buffer, File, NotNow, Numbers, World, hole

KIB = 1 << 10
_TYPES = {"dev": BoType.DEV, "share": BoType.SHARE, "cmd": BoType.CMD, "chunk": BoType.DEV_HEAP}


def chunk(world: World, n: Numbers) -> None:
    """A chunk of the heap, not mapped."""
    file = world.file(n)
    slot = file.slot(n)
    world.room(n["units"])
    made = world.call(lambda: file.heap.create_chunk(n["units"] * CHUNK))
    file.buffers[slot] = Buffer(made.handle, "chunk", made.size, chunk=made)


def bo(world: World, n: Numbers) -> None:
    file = world.file(n)
    slot = file.slot(n)
    size = n["kib"] * KIB
    was_full = oracle.full(file, world.most_heap)
    try:
        handle = world.call(lambda: file.client.create_bo(_TYPES[n["kind"]], size))
    except OSError as error:
        if n["kind"] == "dev":
            oracle.error_of_dev(file, error, was_full, world.most_heap)
        elif error.errno == errno.EAGAIN:
            raise Broken("eagain", f"a {n['kind']} buffer") from error
        raise
    made = Buffer(handle, n["kind"], size)
    if n["kind"] == "dev":
        made.address = file.client.bo_info(handle).xdna_addr
        oracle.placed(file, made, world.most_heap)
    file.buffers[slot] = made


def user(world: World, n: Numbers) -> None:
    """A buffer over memory of this process; with ``hole`` its last page cannot be touched."""
    file = world.file(n)
    slot = file.slot(n)
    size = max(1, n["pages"]) * PAGE
    area = memory.anonymous(size)
    world.areas.append(area)
    area.write(0, bytes(size))
    if n["hole"]:
        hole(area.address + size - PAGE, PAGE)
    handle = world.call(lambda: file.client.create_user_bo([(area.address, size)], _TYPES[n["kind"]]))
    file.buffers[slot] = Buffer(handle, "user", size)


def map_(world: World, n: Numbers) -> None:
    """A chunk is mapped behind the one before it, any other buffer anywhere."""
    file = world.file(n)
    buffer = file.buffer(n)
    if buffer.mapping is not None:
        raise NotNow
    if buffer.chunk is not None:
        buffer.mapping = world.call(lambda: _map_chunk(file, buffer))
        file.odd = file.odd or world.failing is not None
    else:
        buffer.mapping = world.call(lambda: file.client.map_bo(buffer.handle, buffer.size or PAGE))
    buffer.whole = world.failing is None


def _map_chunk(file: File, buffer: Buffer) -> memory.Mapping:
    assert buffer.chunk is not None
    if buffer.chunk.offset + buffer.chunk.size > MAX_HEAP:
        raise NotNow  # no place is kept for it
    return file.heap.map_chunk(buffer.chunk)


def unmap(world: World, n: Numbers) -> None:
    file = world.file(n)
    buffer = file.buffer(n)
    if buffer.mapping is None:
        raise NotNow
    mapping, buffer.mapping, buffer.whole = buffer.mapping, None, False
    if buffer.chunk is not None:
        world.call(lambda: file.heap.unmap_chunk(buffer.chunk))  # type: ignore[arg-type]
    else:
        world.call(lambda: file.client.unmap(mapping))


def cut(world: World, n: Numbers) -> None:
    """A page in the middle of a mapping goes."""
    file = world.file(n)
    buffer = file.buffer(n)
    if buffer.mapping is None or buffer.mapping.size <= PAGE:
        raise NotNow
    middle = buffer.mapping.address + (buffer.mapping.size // 2 & -PAGE)
    _odd(file, buffer)
    world.call(lambda: hole(middle, PAGE))


def protect(world: World, n: Numbers) -> None:
    file = world.file(n)
    buffer = file.buffer(n)
    mapping = buffer.mapping
    if mapping is None:
        raise NotNow
    _odd(file, buffer)
    world.call(lambda: memory.mprotect(mapping.address, mapping.size, n["prot"]))


def _odd(file: File, buffer: Buffer) -> None:
    buffer.whole = False
    file.odd = file.odd or buffer.kind == "chunk"


def free(world: World, n: Numbers) -> None:
    file = world.file(n)
    buffer = file.buffer(n)
    file.drop(buffer)
    world.call(lambda: file.client.close_bo(buffer.handle))


def sync(world: World, n: Numbers) -> None:
    file = world.file(n)
    handle = file.buffer(n).handle
    world.call(lambda: file.client.sync_bo(handle, n["offset"], n["kib"] * KIB, n["back"]))


def export(world: World, n: Numbers) -> None:
    file = world.file(n)
    buffer = file.buffer(n)
    if n["dma_buf"] in world.dma_bufs:
        raise NotNow
    if buffer.chunk is not None:
        world.room(buffer.chunk.size // CHUNK)
    world.dma_bufs[n["dma_buf"]] = world.call(lambda: file.client.export(buffer.handle))
    if buffer.chunk is not None:
        world.lent += buffer.chunk.size // CHUNK


def import_(world: World, n: Numbers) -> None:
    file = world.file(n)
    slot = file.slot(n)
    if n["dma_buf"] not in world.dma_bufs:
        raise NotNow
    handle = world.call(lambda: file.client.import_fd(world.dma_bufs[n["dma_buf"]]))
    file.buffers[slot] = Buffer(handle, "shared")


def forget(world: World, n: Numbers) -> None:
    """A dma-buf's file is closed."""
    if n["dma_buf"] not in world.dma_bufs:
        raise NotNow
    os.close(world.dma_bufs.pop(n["dma_buf"]))


def name(world: World, n: Numbers) -> None:
    """A buffer gets a name."""
    file = world.file(n)
    buffer = file.buffer(n)
    world.names[n["name"]] = file, world.call(lambda: file.client.flink(buffer.handle))


def find(world: World, n: Numbers) -> None:
    """A buffer is opened by its name, in the file that gave it: 7.3 does not survive one that outlives it (L11)."""
    file = world.file(n)
    slot = file.slot(n)
    owner, name = world.names.get(n["name"], (None, 0))
    if owner is not file:
        raise NotNow
    handle = world.call(lambda: file.client.open_name(name))
    file.buffers[slot] = Buffer(handle, "shared")


STEPS = (chunk, bo, user, map_, unmap, cut, protect, free, sync, export, import_, forget, name, find)
