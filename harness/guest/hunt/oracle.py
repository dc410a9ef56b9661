# SPDX-License-Identifier: GPL-2.0-only
"""What must hold whatever was done before. Errors of calls are not judged; what is never true is.

What the kernel says of itself, and what is left behind, the host sees (model/leak.py, formats/splat.py).
"""

from __future__ import annotations

import errno

from harness.drm.device import Device
from harness.drm.heap import DEV_ALIGNMENT, DEVICE_BASE
from harness.drm.memory import Mapping
from harness.guest.expect import eventually
from harness.guest.hunt.world import Buffer, File, World
from harness.guest.worker import serves

SLOW_SECONDS = 30.0
"""No step takes longer: a message is given 5 s, a command that hangs 2 to 4 s, each a few times in a bad case."""
DOZE_SECONDS = 15.0
"""So long a step waits for the device to sleep: less than is slow, since somebody may use it still."""
ASLEEP_SECONDS = 30.0
FREED_SECONDS = 10.0
MOST_HANDLES = 256
_SUMS = ("heap-alloc", "internal-alloc", "external-alloc")


class Broken(AssertionError):
    """An invariant does not hold. The host knows it by ``name``."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"broken {name}: {text}")
        self.name = name


def placed(file: File, buffer: Buffer, most_heap: int) -> None:
    """A new DEV BO lies in the heap, aligned, and on no other."""
    start, end = buffer.address, buffer.address + buffer.size
    if start % DEV_ALIGNMENT:
        raise Broken("alignment", f"a DEV BO at {start:#x}")
    if not DEVICE_BASE <= start <= end <= DEVICE_BASE + most_heap:
        raise Broken("range", f"a DEV BO of {buffer.size:#x} bytes at {start:#x}")
    for other in list(file.buffers.values()):
        if other.kind == "dev" and start < other.address + other.size and other.address < end:
            raise Broken("overlap", f"DEV BOs at {start:#x} and {other.address:#x}, of {other.size:#x} bytes")


def in_heap(file: File, memory: Mapping) -> None:
    """What a process is told to be a DEV BO's memory is memory of its heap."""
    if not file.heap.base <= memory.address <= memory.address + memory.size <= file.heap.base + file.heap.size:
        raise Broken("address", f"a DEV BO is said to be at {memory.address:#x}, the heap is at {file.heap.base:#x}")


def full(file: File, most_heap: int) -> bool:
    """The heap is as large as it can be, and all of it is mapped."""
    return file.reachable() and file.heap.size >= most_heap


def error_of_dev(file: File, error: OSError, was_full: bool, most_heap: int) -> None:
    """EAGAIN asks for a chunk, or for one to be mapped: there must be one to add, or to map."""
    if error.errno == errno.EAGAIN and was_full and full(file, most_heap):
        raise Broken("eagain", f"a DEV BO in a heap of {file.heap.size:#x} bytes, all mapped")


def accounts(file: File) -> None:
    """What the driver counts is never less than what the file is known to have, and no wrapped negative number."""
    heap, internal, external = (file.client.fdinfo_bytes(name) for name in _SUMS)
    sizes = {kind: sum(b.size for b in file.buffers.values() if b.kind == kind) for kind in KINDS}
    for name, found, least in (
        ("heap", heap, sizes["dev"]),
        ("internal", internal, sizes["cmd"] + sizes["chunk"]),
        ("external", external, sizes["share"]),
    ):
        if not least <= found < 1 << 40:
            raise Broken("accounts", f"{name} says {found} bytes, at least {least} are there")


KINDS = ("dev", "cmd", "chunk", "share")


def emptied(file: File) -> None:
    """A file whose contexts and handles are all closed uses nothing."""
    for context in file.contexts.values():
        try:
            file.client.destroy_hwctx(context.hwctx)
        except OSError as error:
            raise Broken("destroy", f"a context cannot be destroyed: {error}") from error
    for handle in range(1, MOST_HANDLES):
        try:
            file.client.close_bo(handle)
        except OSError:
            continue  # no such handle
    try:
        eventually(lambda: not any(map(file.client.fdinfo_bytes, _SUMS)), "nothing is used", FREED_SECONDS)
    except AssertionError:
        sums = {name: file.client.fdinfo_bytes(name) for name in _SUMS}
        raise Broken("usage", f"all handles and contexts are closed, still used: {sums}") from None


def afterwards(world: World, device: Device) -> None:
    """All is closed: the device sleeps, and serves a new client."""
    try:
        device.suspend(ASLEEP_SECONDS)
    except TimeoutError as error:
        raise Broken("awake", f"all files are closed: {error}") from None
    try:
        serves(world.open_client, "after the walk")
    except AssertionError as error:
        raise Broken("serves", str(error)) from error
    except OSError as error:
        raise Broken("serves", f"a new client is refused: {error}") from error
