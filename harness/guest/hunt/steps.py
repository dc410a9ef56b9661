# SPDX-License-Identifier: GPL-2.0-only
"""What each step of a walk does. Each raises NotNow when what it needs is not there, OSError as the driver says, and
Broken when what the driver did cannot be right. Only the call that a step is named after may want for memory.

Here are those on files, firmware, power and processes; the others in buffers.py and commands.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from harness.drm.heap import CHUNK, Heap
from harness.drm.memory import PAGE
from harness.drm.structs import BoType
from harness.guest.hunt import buffers, commands, oracle
from harness.guest.hunt.process import exits, forked
from harness.guest.hunt.world import File, NotNow, Numbers, World
from harness.guest.program import Program
from harness.guest.spoiled import WAYS
from harness.guest.worker import Worker

TAKEN_SECONDS = 0.1
"""By then the driver has looked at a command that was queued, on a busy machine too."""
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
    """From now on one message is not answered well; or all are. Not while contexts sleep: see :func:`sleep`."""
    if n["way"] == "well":
        world.npu.reset()
    elif world.asleep_with_contexts():
        raise NotNow
    else:
        world.npu.script({"opcode": n["opcode"], "skip": n["skip"], **_RULES[n["way"]]})


def sleep(world: World, n: Numbers) -> None:
    """The device suspends, if nobody uses it. Firmware is well again, and not while a context's heap is not all mapped:
    a context that cannot be set up when the device wakes is set up twice the next time, which 7.3 is known for (O27,
    E26)."""
    if any(file.contexts and not file.reachable() for file in world.held()):
        raise NotNow
    world.npu.reset()
    world.device.suspend(oracle.DOZE_SECONDS)


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
    """A process with a heap of its own, maybe a context and a command that hangs, is killed; not before the command was
    looked at, since 7.3 is known for one that is refused then (L14)."""
    world.room(n["units"])

    def body() -> None:
        heap = Heap(world.open_client())
        heap.add_chunk(max(1, n["units"]) * CHUNK)
        if n["context"]:
            worker = Worker(heap)
            if n["hang"]:
                worker.submit(Program().hang())
                time.sleep(TAKEN_SECONDS)

    exits(forked(body, stay=True), kill=True)


_HERE = (open_, close, info, array, columns, usage, firmware, sleep, fork, victim)
STEPS: dict[str, Callable[[World, Numbers], None]] = {
    step.__name__.rstrip("_"): step for step in (*buffers.STEPS, *commands.STEPS, *_HERE)
}
