# SPDX-License-Identifier: GPL-2.0-only
"""Steps of a walk on contexts and commands."""

from __future__ import annotations

import errno
import os
import struct

from harness.drm import command
from harness.drm.command import State
from harness.drm.memory import PAGE
from harness.drm.structs import BoType
from harness.guest.hunt import oracle
from harness.guest.hunt.oracle import Broken
from harness.guest.hunt.world import Context, File, NotNow, Numbers, World
from harness.guest.program import Program
from harness.guest.worker import Worker

COMMAND_SECONDS = 8.0
"""A command that hangs is given up after 2 to 4 s."""
_INVALID_PARAM = 0x4000003


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
    if file.odd or (where.worker is None and world.together):
        raise NotNow
    if where.worker is None:
        worker = Worker(file.heap, context=where.hwctx)
        oracle.in_heap(file, worker.code)
        where.worker = worker
    if not file.holds(where.worker.code):
        raise NotNow
    return where.worker


def attach(world: World, n: Numbers) -> None:
    file = world.file(n)
    where, buffer = file.context(n), file.buffer(n)
    world.call(lambda: file.client.attach_debug_bo(where.hwctx, buffer.handle))


def detach(world: World, n: Numbers) -> None:
    file = world.file(n)
    where, buffer = file.context(n), file.buffer(n)
    world.call(lambda: file.client.detach_debug_bo(where.hwctx, buffer.handle))


STEPS = (context, destroy, run, chain, packet, attach, detach)
