# SPDX-License-Identifier: GPL-2.0-only
"""What each step of a walk does. Each raises NotNow when what it needs is not there, OSError as the driver says, and
Broken when what the driver did cannot be right. Only the call that a step is named after may want for memory.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from typing import Any

from harness.drm import command, memory
from harness.drm.command import State
from harness.drm.heap import CHUNK, MAX_HEAP, Heap
from harness.drm.memory import PAGE
from harness.drm.structs import BoType
from harness.guest.hunt import oracle
from harness.guest.hunt.oracle import Broken
from harness.guest.hunt.process import exits, forked
from harness.guest.hunt.world import Buffer, Context, File, NotNow, Numbers, World, hole
from harness.guest.program import Program
from harness.guest.spoiled import WAYS
from harness.guest.worker import Worker

KIB = 1 << 10
COMMAND_SECONDS = 8.0
"""A command that hangs is given up after 2 to 4 s."""
_TYPES = {"dev": BoType.DEV, "share": BoType.SHARE, "cmd": BoType.CMD, "chunk": BoType.DEV_HEAP}
_INVALID_PARAM = 0x4000003
_RULES: dict[str, dict[str, Any]] = {
    **{name: dict(way.rule) for name, way in WAYS.items()},
    "tail": {"malform": "tail"},
    "magic": {"malform": "magic"},
}


def open_(world: World, n: Numbers) -> None:
    if n["file"] in world.files:
        raise NotNow
    client = world.call(world.open_client)
    world.files[n["file"]] = File(client, Heap(client))


def close(world: World, n: Numbers) -> None:
    world.file(n)
    world.close_file(n["file"], keep=bool(n["keep"]))


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


def context(world: World, n: Numbers) -> None:
    file = world.file(n)
    if n["context"] in file.contexts:
        raise NotNow
    was_full = oracle.full(file, world.most_heap)
    try:
        made = world.call(lambda: file.client.create_hwctx(n["columns"]))
    except OSError as error:
        oracle.error_of_dev(file, error, was_full, world.most_heap)
        raise
    file.contexts[n["context"]] = Context(made)


def destroy(world: World, n: Numbers) -> None:
    file = world.file(n)
    gone = file.context(n)
    world.call(lambda: file.client.destroy_hwctx(gone.hwctx))
    del file.contexts[n["context"]]


def run(world: World, n: Numbers) -> None:
    """A command that stores a number, hangs or fails; with ``slot`` a buffer is its argument, with ``leave`` nobody
    waits for it. What it stored must be there."""
    file = world.file(n)
    where = file.context(n)
    worker = _worker(world, file, where)
    arguments = [file.buffers[n["slot"]].handle] if n.get("slot") in file.buffers else []
    number = struct.unpack("<Q", os.urandom(8))[0]
    program = {
        "store": Program().store(worker.result_address, number),
        "fail": Program().fail(_INVALID_PARAM),
        "hang": Program().hang(),
    }[n["what"]]
    where.seq = world.call(lambda: worker.submit(program, arguments))
    if n.get("leave"):
        return
    state = worker.wait(where.seq, COMMAND_SECONDS)
    sure = n["what"] == "store" and state is State.COMPLETED and not world.together
    if sure and worker.result.read(0, 8) != struct.pack("<Q", number):
        raise Broken("result", "a command completed, and what it stored is not there")
    if state is not State.COMPLETED:
        raise OSError(errno.EIO, f"the command ended as {state.name}")


def chain(world: World, n: Numbers) -> None:
    """The context's last command, a few times in a row."""
    file = world.file(n)
    worker = _worker(world, file, file.context(n))
    data = command.chain([worker.command] * max(1, n["commands"]))
    _odd_command(world, file, file.context(n), data)


def packet(world: World, n: Numbers) -> None:
    """A command whose header says anything, and whose payload is one small number again and again."""
    file = world.file(n)
    header = State.NEW | (n["count"] & 0x7FF) << 12 | (n["opcode"] & 0x1F) << 23
    data = struct.pack("<I", header) + struct.pack("<I", n["word"]) * 1023
    _odd_command(world, file, file.context(n), data)


def _odd_command(world: World, file: File, where: Context, data: bytes) -> None:
    _worker(world, file, where)  # a command needs a compute unit
    handle = file.client.create_bo(BoType.CMD, PAGE)
    try:
        mapping = file.client.map_bo(handle, PAGE)
        mapping.write(0, data[:PAGE])
        where.seq = world.call(lambda: file.client.exec_cmd(where.hwctx, handle, []))
        file.client.wait(where.hwctx, where.seq, COMMAND_SECONDS)
        state = command.state(mapping.read(0, 4))
        if state is not State.COMPLETED:
            raise OSError(errno.EIO, f"the command ended as {state.name}")
    finally:
        file.client.close_bo(handle)


def _worker(world: World, file: File, where: Context) -> Worker:
    """What commands need. Their code lies in the heap, which must be there to be written to."""
    if not file.reachable() or (where.worker is None and world.together):
        raise NotNow
    if where.worker is None:
        worker = Worker(file.heap, context=where.hwctx)
        oracle.in_heap(file, worker.code)
        where.worker = worker
    return where.worker


def attach(world: World, n: Numbers) -> None:
    file = world.file(n)
    where, buffer = file.context(n), file.buffer(n)
    world.call(lambda: file.client.attach_debug_bo(where.hwctx, buffer.handle))


def detach(world: World, n: Numbers) -> None:
    file = world.file(n)
    where, buffer = file.context(n), file.buffer(n)
    world.call(lambda: file.client.detach_debug_bo(where.hwctx, buffer.handle))


def info(world: World, n: Numbers) -> None:
    file = world.file(n)
    world.call(lambda: file.client.get_info(n["what"], max(1, n["size"])))


def array(world: World, n: Numbers) -> None:
    file = world.file(n)
    world.call(lambda: file.client.get_array(n["what"], bytes(max(1, n["size"])), max(1, n["count"])))


def columns(world: World, n: Numbers) -> None:
    file = world.file(n)
    world.call(lambda: file.client.column_status(max(1, n["size"])))


def usage(world: World, n: Numbers) -> None:
    file = world.file(n)
    world.call(file.client.usage)
    if not world.together:
        oracle.accounts(file)


def firmware(world: World, n: Numbers) -> None:
    """From now on one message is not answered well; or all are."""
    if n["way"] == "well":
        world.npu.reset()
    else:
        world.npu.script({"opcode": n["opcode"], "skip": n["skip"], **_RULES[n["way"]]})


def sleep(world: World, n: Numbers) -> None:
    """The device suspends, if nobody uses it. Firmware is well again, and not while a context's heap is not all mapped:
    a context that cannot be set up when the device wakes is set up twice the next time, which 7.3 is known for (O27,
    E26)."""
    if any(file.contexts and not file.reachable() for file in world.files.values()):
        raise NotNow
    world.npu.reset()
    world.device.suspend(oracle.ASLEEP_SECONDS)


def fork(world: World, n: Numbers) -> None:
    """A child has all of it too; it exits, reads first, or uses the file."""
    file = world.file(n)
    readable = [b.mapping for b in file.buffers.values() if b.mapping is not None and b.whole]

    def body() -> None:
        if n["what"] == "read":
            for mapping in readable:
                mapping.read(0, 1)
        elif n["what"] == "use":
            file.client.close_bo(file.client.create_bo(BoType.SHARE, PAGE))
            file.client.close_bo(file.client.create_bo(BoType.DEV, PAGE))

    exits(forked(body))


def victim(world: World, n: Numbers) -> None:
    """A process with a heap of its own, maybe a context and a command that hangs, is killed."""
    world.room(n["units"])

    def body() -> None:
        heap = Heap(world.open_client())
        heap.add_chunk(max(1, n["units"]) * CHUNK)
        if n["context"]:
            worker = Worker(heap)
            if n["hang"]:
                worker.submit(Program().hang())

    exits(forked(body, stay=True), kill=True)


_BUFFERS = (chunk, bo, user, map_, unmap, cut, protect, free, sync, export, import_, forget, name, find)
_COMMANDS = (context, destroy, run, chain, packet, attach, detach)
_OTHERS = (open_, close, info, array, columns, usage, firmware, sleep, fork, victim)
STEPS: dict[str, Callable[[World, Numbers], None]] = {
    step.__name__.rstrip("_"): step for step in (*_BUFFERS, *_COMMANDS, *_OTHERS)
}
