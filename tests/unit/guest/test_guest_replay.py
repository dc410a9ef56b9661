# SPDX-License-Identifier: GPL-2.0-only
"""The replay follows what the driver answers: a model of a driver with the series, and of one without."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import cast

import pytest

from harness.drm.client import BoInfo, Client, Usage
from harness.drm.heap import CHUNK, DEV_ALIGNMENT, DEVICE_BASE, MAX_HEAP, MIB
from harness.drm.memory import Mapping
from harness.drm.structs import BoType
from harness.guest.replay import free_ranges, replay
from harness.guest.trace import Step, Trace


def trace(*steps: tuple[str, int]) -> Trace:
    return Trace("by hand", "", "", (), tuple(Step(name, size) for name, size in steps))


class Driver:
    """As much of the driver as the replay talks to: DEV BOs go to the first hole. ``grows``: with the series."""

    def __init__(self, grows: bool, no_room: int = errno.ENOSPC) -> None:
        self.grows = grows
        self.no_room = no_room
        self.clients = 0

    def open(self) -> Client:
        self.clients += 1
        return cast(Client, _File(self))


class _File:
    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.heap = 0
        self.devs: dict[int, tuple[int, int]] = {}
        self.last = 0

    def create_bo(self, kind: int, size: int) -> int:
        self.last += 1
        if kind == BoType.DEV_HEAP:
            if self.heap and not self.driver.grows:
                raise AssertionError("a second chunk makes a driver without the series warn")
            if self.heap + size > MAX_HEAP:
                raise OSError(errno.ENOSPC, "heap")
            self.heap += size
            return self.last
        start = DEVICE_BASE
        for address, length in sorted(self.devs.values()):
            if address - start >= size:
                break
            start = -(-(address + length) // DEV_ALIGNMENT) * DEV_ALIGNMENT
        if start + size > DEVICE_BASE + self.heap:
            number = errno.EAGAIN if self.driver.grows else self.driver.no_room
            raise OSError(number, os.strerror(number))
        self.devs[self.last] = (start, -(-size // 4096) * 4096)
        return self.last

    def map_bo(self, handle: int, size: int, *, address: int = 0) -> Mapping:
        return Mapping(address, size)

    def bo_info(self, handle: int) -> BoInfo:
        return BoInfo(0, 0, self.devs[handle][0])

    def close_bo(self, handle: int) -> None:
        del self.devs[handle]

    def usage(self) -> Usage:
        return Usage(self.heap, self.heap, sum(size for _, size in self.devs.values()))

    def close(self) -> None:
        pass


GROWING = trace(("a", 40 * MIB), ("b", 40 * MIB), ("a", 0), ("c", 8 * MIB), ("d", 70 * MIB))


def test_a_heap_that_grows_has_a_chunk_first_and_more_when_asked_for() -> None:
    driver = Driver(grows=True)
    took = replay(GROWING, driver.open)
    assert (took.first, took.heap, took.chunks, driver.clients) == (CHUNK, 3 * CHUNK, 3, 1)
    assert (took.most, took.live, took.free) == (118 * MIB, 118 * MIB, 74 * MIB)
    assert took.largest == 42 * MIB


@pytest.mark.parametrize("no_room", [errno.ENOSPC, errno.EINVAL])
def test_a_heap_that_does_not_is_made_whole_and_as_large_as_it_must_be(no_room: int) -> None:
    """118 MiB are needed at most, but in 128 MiB they do not fit behind each other."""
    driver = Driver(grows=False, no_room=no_room)
    took = replay(GROWING, driver.open)
    assert (took.first, took.heap, took.chunks, driver.clients) == (3 * CHUNK, 3 * CHUNK, 1, 3)
    assert took.largest == 42 * MIB


def test_what_fits_into_one_chunk_takes_no_second_client() -> None:
    driver = Driver(grows=False)
    took = replay(trace(("a", MIB)), driver.open)
    assert (took.first, took.chunks, driver.clients) == (CHUNK, 1, 1)


@pytest.mark.parametrize("grows", [True, False])
def test_what_fits_nowhere_fails(grows: bool) -> None:
    with pytest.raises(AssertionError, match="one more chunk" if grows else "does not fit into 512 MiB"):
        replay(trace(("a", 400 * MIB), ("b", 200 * MIB)), Driver(grows).open)


def test_any_other_answer_fails_and_says_what_was_wanted() -> None:
    with pytest.raises(AssertionError, match=r"67108865 bytes for a in 64 MiB of heap: expected success, got EPERM"):
        replay(trace(("a", CHUNK + 1)), Driver(grows=False, no_room=errno.EPERM).open)


@pytest.mark.parametrize(
    ("taken", "ranges"),
    [
        ([], [MIB]),
        ([(0, 4096)], [MIB - 32768]),
        ([(0, 4096), (32768, 32768), (98304, 4096)], [32768, MIB - 131072]),
        ([(32768, MIB - 32768)], [32768]),
        ([(0, MIB)], []),
    ],
)
def test_free_ranges_begin_where_a_dev_bo_can(taken: Sequence[tuple[int, int]], ranges: list[int]) -> None:
    base = DEVICE_BASE
    assert free_ranges([(base + at, size) for at, size in reversed(taken)], base, MIB) == ranges
