# SPDX-License-Identifier: GPL-2.0-only
"""Host buffers: which announcements are accepted, and where a device address ends up."""

from __future__ import annotations

import pytest

from harness.npu.generations import HEAP_BASE, HEAP_CHUNK, MIB
from harness.npu.heap import Heap, HeapError, in_heap

USER = 0x7E0000000000


def mapped(chunks: int = 1, maximum: int = 512 * MIB, contiguous: bool = True) -> Heap:
    heap = Heap(maximum, contiguous)
    heap.map(USER, HEAP_CHUNK)
    for n in range(1, chunks):
        assert heap.add(USER + n * HEAP_CHUNK, HEAP_CHUNK) is None
    return heap


def refused(heap: Heap, host: int, size: int = HEAP_CHUNK) -> str:
    before = list(heap.buffers)
    with pytest.raises(HeapError) as error:
        heap.add(host, size)
    assert heap.buffers == before, "a refused announcement changes nothing"
    return error.value.kind


def test_device_addresses_follow_from_the_order() -> None:
    heap = mapped(3)
    assert [b.device for b in heap.buffers] == [HEAP_BASE + n * HEAP_CHUNK for n in range(3)]
    assert heap.resolve(HEAP_BASE + 2 * HEAP_CHUNK + 5, 3) == [(USER + 2 * HEAP_CHUNK + 5, 3)]


def test_a_range_across_chunks_has_a_piece_in_each() -> None:
    heap = Heap(512 * MIB, contiguous=False)
    heap.map(0x7FFFF8000000, HEAP_CHUNK)
    assert heap.add(0x7FFFF4000000, HEAP_CHUNK) is None
    pieces = heap.resolve(HEAP_BASE + HEAP_CHUNK - 16, 48)
    assert pieces == [(0x7FFFF8000000 + HEAP_CHUNK - 16, 16), (0x7FFFF4000000, 32)]


def test_an_older_kernel_maps_everything_at_once() -> None:
    heap = Heap(64 * MIB, contiguous=True)
    heap.map(USER, 8 * HEAP_CHUNK)
    assert heap.resolve(HEAP_BASE + 7 * HEAP_CHUNK, 4) == [(USER + 7 * HEAP_CHUNK, 4)]


@pytest.mark.parametrize(
    ("host", "size", "kind"),
    [
        (USER, 0, "wrong-size"),
        (USER, HEAP_CHUNK + 4096, "wrong-size"),
        (USER, 64 * HEAP_CHUNK, "beyond-maximum"),
        ((1 << 64) - 1, HEAP_CHUNK, "invalid-address"),
        ((1 << 64) - 4096, HEAP_CHUNK, "invalid-address"),
        (0, HEAP_CHUNK, "invalid-address"),
        (USER + 100, HEAP_CHUNK, "invalid-address"),
    ],
)
def test_a_wrong_map_is_refused_and_a_right_one_may_follow(host: int, size: int, kind: str) -> None:
    heap = Heap(512 * MIB, contiguous=True)
    with pytest.raises(HeapError) as error:
        heap.map(host, size)
    assert error.value.kind == kind
    heap.map(USER, HEAP_CHUNK)


def test_a_second_map_is_refused() -> None:
    with pytest.raises(HeapError) as error:
        mapped().map(USER + HEAP_CHUNK, HEAP_CHUNK)
    assert error.value.kind == "mapped-twice"


def test_add_needs_a_map_first() -> None:
    assert refused(Heap(512 * MIB, contiguous=True), USER) == "not-mapped"


@pytest.mark.parametrize(
    ("host", "size", "kind"),
    [
        (USER, HEAP_CHUNK, "announced-twice"),
        (USER + HEAP_CHUNK, HEAP_CHUNK, "announced-twice"),
        (USER + HEAP_CHUNK + 4096, HEAP_CHUNK, "overlap"),
        (USER - 4096, HEAP_CHUNK, "overlap"),
        (USER + 2 * HEAP_CHUNK, 2 * HEAP_CHUNK, "wrong-size"),
        (USER + 2 * HEAP_CHUNK, 0, "wrong-size"),
        ((1 << 64) - 1, HEAP_CHUNK, "invalid-address"),
    ],
)
def test_a_wrong_add_is_refused(host: int, size: int, kind: str) -> None:
    heap = mapped(2)
    assert refused(heap, host, size) == kind
    assert heap.add(USER + 2 * HEAP_CHUNK, HEAP_CHUNK) is None, "the right one is still accepted"


def test_the_maximum_holds_for_added_buffers() -> None:
    assert refused(mapped(8), USER + 8 * HEAP_CHUNK) == "beyond-maximum"
    assert refused(mapped(1, maximum=64 * MIB), USER + HEAP_CHUNK) == "beyond-maximum"


def test_a_gap_between_process_addresses_is_noted_but_works() -> None:
    heap = mapped()
    noted = heap.add(USER + 3 * HEAP_CHUNK, HEAP_CHUNK)
    assert noted is not None
    assert noted.kind == "not-contiguous"
    assert heap.resolve(HEAP_BASE + HEAP_CHUNK, 8) == [(USER + 3 * HEAP_CHUNK, 8)]


@pytest.mark.parametrize("device", [HEAP_BASE + HEAP_CHUNK, HEAP_BASE + HEAP_CHUNK - 4, HEAP_BASE - 4, 0])
def test_what_was_not_announced_is_an_error_of_its_own(device: int) -> None:
    with pytest.raises(HeapError) as error:
        mapped().resolve(device, 8)
    assert error.value.kind == "not-announced"


def test_only_the_heaps_window_means_device_addresses() -> None:
    assert in_heap(0x4000000)
    assert in_heap(0x23FFFFFF)
    assert not in_heap(0x24000000)
    assert not in_heap(USER)
