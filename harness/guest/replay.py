# SPDX-License-Identifier: GPL-2.0-only
"""Replays a trace on a device heap, in the way that the driver offers, and counts what it took.

A client begins with one chunk and does what the driver answers to its DEV BOs: after EAGAIN it adds a chunk and tries
again. A driver that says ENOSPC or EINVAL instead asks for nothing: a heap there is what it was made as (before the
series), so a new client makes it as large as the trace needs at its peak, and a chunk larger as long as it does not
fit. Neither way is a failure here: which one it was is one of the numbers. A driver with the series that answers
ENOSPC by mistake is measured as one whose heap cannot grow; that this is wrong is for the tests of expansion to say
(E09, E10). No second chunk is tried where none was asked for: drivers before the series warn about it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from harness.drm.calls import counted
from harness.drm.client import Client
from harness.drm.heap import CHUNK, DEV_ALIGNMENT, DEVICE_BASE, MAX_HEAP, MIB, Heap
from harness.drm.memory import PAGE
from harness.guest.expect import name_of, works
from harness.guest.trace import Step, Trace

_NO_ROOM = (errno.ENOSPC, errno.EINVAL)
"""What a driver says that does not ask for a chunk: no room now, or never with this heap."""


@dataclass(frozen=True)
class Replay:
    """What a trace took. Bytes, but for ``chunks`` and ``calls``: system calls from the first chunk to the last step,
    of the client that got there.

    ``first``: the heap before the first tensor; ``heap``: at the end; ``most``: in use at once. ``live``, ``free`` and
    ``largest`` are the bytes in use, all others, and the largest DEV BO that would still fit, after the last step.
    """

    first: int
    heap: int
    chunks: int
    most: int
    live: int
    free: int
    largest: int
    calls: int


class _NoRoom(Exception):
    """The heap is too small, and the driver does not ask for more."""


def replay(trace: Trace, open_client: Callable[[], Client]) -> Replay:
    """Replay a trace on clients of its own, which are closed again. Raises AssertionError where it does not work."""
    first, grows = CHUNK, True
    while True:
        heap = Heap(open_client())
        try:
            return _run(heap, trace, first, grows)
        except _NoRoom as problem:
            first = max(first + CHUNK, _up(trace.peak(PAGE), CHUNK)) if grows else first + CHUNK
            grows = False
            if first > MAX_HEAP:
                raise AssertionError(f"{trace.name} does not fit into {MAX_HEAP // MIB} MiB: {problem}") from problem
        finally:
            heap.client.close()
            heap.release()


def _run(heap: Heap, trace: Trace, first: int, grows: bool) -> Replay:
    client = heap.client
    live: dict[str, tuple[int, int]] = {}
    with counted() as calls:
        with works(f"{first // MIB} MiB of heap"):
            heap.add_chunk(first)
        for step in trace.steps:
            if step.size:
                live[step.tensor] = (_create(heap, step, grows), _up(step.size, PAGE))
            else:
                client.close_bo(live.pop(step.tensor)[0])
    used = sum(size for _, size in live.values())
    counted_by_driver = client.usage().heap
    assert counted_by_driver == used, f"{used} bytes are in use, the driver counts {counted_by_driver}"
    taken = [(client.bo_info(handle).xdna_addr, size) for handle, size in live.values()]
    largest = max(free_ranges(taken, DEVICE_BASE, heap.size), default=0)
    most, free = trace.peak(PAGE), heap.size - used
    return Replay(first, heap.size, len(heap.chunks), most, used, free, largest, calls.total())


def _create(heap: Heap, step: Step, grows: bool) -> int:
    """A DEV BO for a tensor: its handle."""
    what = f"DEV BO of {step.size} bytes for {step.tensor} in {heap.size // MIB} MiB of heap"
    while True:
        try:
            return heap.create_dev(step.size)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise _NoRoom(f"{what}: {name_of(error.errno)}") from error
            if error.errno != errno.EAGAIN or not grows:
                raise AssertionError(f"{what}: expected success, got {name_of(error.errno)}") from error
        with works(f"one more chunk for a {what}"):
            heap.add_chunk()


def free_ranges(taken: Iterable[tuple[int, int]], start: int, size: int) -> list[int]:
    """Bytes of each range in which a DEV BO could lie, in a heap of ``size`` bytes at address ``start``.

    ``taken`` are (address, bytes). The driver aligns a DEV BO to 32 KiB: what lies before such an address is lost.
    """
    ranges = []
    at = start
    for address, length in (*sorted(taken), (start + size, 0)):
        begin = _up(at, DEV_ALIGNMENT)
        if address > begin:
            ranges.append(address - begin)
        at = address + length
    return ranges


def _up(value: int, granule: int) -> int:
    return -(-value // granule) * granule
