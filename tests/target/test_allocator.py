# SPDX-License-Identifier: GPL-2.0-only
"""DEV BOs inside the heap: where they lie, what is counted, what is given back."""

from __future__ import annotations

import errno
import os
import random

import pytest

from harness.drm.client import Client
from harness.drm.heap import CHUNK, DEV_ALIGNMENT, MAX_HEAP, MIB, Heap
from harness.drm.structs import Array, BoType, BoUsage
from harness.guest.counters import shared_memory
from harness.guest.expect import eventually, refused, works

EXPANDING = pytest.mark.generations("npu4", "npu5", "npu6")
OPERATIONS = 600
"""Of 10 000 in the catalogue: a system call costs much under emulation."""


@pytest.mark.quick
def test_e16_placement(heap: Heap) -> None:
    """E16: DEV BOs are 32 KiB aligned and never overlap, whatever is allocated and freed in between.

    Source: amdxdna_gem.c, amdxdna_gem_heap_alloc(); npu4_regs.c, dev_mem_buf_shift.
    """
    with works("first chunk"):
        heap.add_chunk()
    chance = random.Random(16)
    live: dict[int, tuple[int, int]] = {}
    for _ in range(OPERATIONS):
        if len(live) < 40 or chance.random() < 0.5:
            size = chance.randrange(1, 256 * 1024)
            with works(f"DEV BO of {size} bytes"):
                dev = heap.create_dev(size)
            start = heap.client.bo_info(dev).xdna_addr
            assert start % DEV_ALIGNMENT == 0, f"{start:#x} is not aligned"
            clash = [other for other in live.values() if start < other[1] and other[0] < start + size]
            assert not clash, f"{start:#x} + {size:#x} overlaps {clash}"
            live[dev] = (start, start + size)
        else:
            dev = chance.choice(sorted(live))
            heap.client.close_bo(dev)
            del live[dev]
        if len(live) > 100:  # stay far from the end of the chunk
            while len(live) > 40:
                heap.client.close_bo(live.popitem()[0])


@pytest.mark.quick
def test_e17_no_leftovers(heap: Heap) -> None:
    """E17: when all DEV BOs are freed, in any order, one as large as the heap fits again.

    Source: amdxdna_gem.c, amdxdna_gem_heap_free().
    """
    with works("first chunk, full of DEV BOs"):
        heap.add_chunk()
        devs = [heap.create_dev(MIB) for _ in range(CHUNK // MIB)]
    random.Random(17).shuffle(devs)
    for dev in devs:
        heap.client.close_bo(dev)
    with works("DEV BO as large as the heap"):
        heap.create_dev(CHUNK)


@pytest.mark.quick
def test_e18_accounting(heap: Heap) -> None:
    """E18: BO_USAGE and fdinfo count the chunk as internal, DEV BOs as heap, and nothing in the end.

    Source: amdxdna_gem.c, amdxdna_gem_add_bo_usage(); amdxdna_pci_drv.c, amdxdna_show_fdinfo().
    """
    client = heap.client
    with works("first chunk, DEV BOs and a SHARE BO"):
        chunk = heap.add_chunk()
        devs = [heap.create_dev(size) for size in (4096, 5000, MIB)]
        share = client.create_bo(BoType.SHARE, 8192)
    in_heap = 4096 + 8192 + MIB
    usage = client.usage()
    assert (usage.total, usage.internal, usage.heap) == (CHUNK + 8192, CHUNK, in_heap)
    sizes = [client.fdinfo_bytes(name) for name in ("internal-alloc", "external-alloc", "heap-alloc")]
    assert sizes == [CHUNK, 8192, in_heap]
    for handle in (*devs, share, chunk.handle):
        client.close_bo(handle)
    usage = client.usage()
    assert (usage.total, usage.internal, usage.heap) == (0, 0, 0)


@pytest.mark.quick
def test_e18_answer_without_the_question(heap: Heap) -> None:
    """E18: what stands in the question's fields is not in the answer of BO_USAGE.

    Source: amdxdna_gem.c, amdxdna_drm_get_bo_usage() copies the question in, for the process that is meant.
    """
    with works("first chunk and a DEV BO"):
        heap.add_chunk()
        heap.create_dev(4096)
    rest = 1 << 40
    question = BoUsage(pid=os.getpid(), total_usage=rest, internal_usage=rest, heap_usage=rest)
    answer = BoUsage.from_buffer_copy(heap.client.get_array(Array.BO_USAGE, bytes(question))[0])
    assert (answer.total_usage, answer.internal_usage, answer.heap_usage) == (CHUNK, CHUNK, 4096)


@pytest.mark.quick
@pytest.mark.modes("sva", "force-iova")  # carveout memory is no shared memory
@pytest.mark.mode
def test_e19_heap_handle_closed(heap: Heap) -> None:
    """E19: closing the chunk's handle takes it out of the count; the memory stays until the file is closed.

    Source: amdxdna_gem.c, amdxdna_gem_obj_close(); amdxdna_pci_drv.c, amdxdna_client_cleanup().
    """
    before = shared_memory()
    with works("first chunk and a DEV BO"):
        chunk = heap.add_chunk()
        view = heap.view(heap.create_dev(4096), 4096)
    view.write(0, b"still here")
    heap.client.close_bo(chunk.handle)
    assert heap.client.usage().total == 0
    assert shared_memory() - before > CHUNK // 2, "the chunk's memory is gone too early"
    assert view.read(0, 10) == b"still here"
    with works("DEV BO after the chunk's handle was closed"):
        heap.create_dev(4096)
    heap.client.close()
    eventually(
        lambda: shared_memory() - before < CHUNK // 2,
        "the chunk's memory is freed at close",
    )


def test_e18_half_a_question(client: Client) -> None:
    """E18: BO_USAGE that is asked with a half of a process number, which is 0, is refused: the other half is not what
    an earlier call left.

    Kernels that clear local variables (CONFIG_INIT_STACK_ALL_ZERO) pass in any case. Source: amdxdna_gem.c,
    amdxdna_drm_get_bo_usage().
    """
    with works("BO_USAGE of a process that there is not"):
        client.get_array(Array.BO_USAGE, bytes(BoUsage(pid=0x7FFFFFFF << 32)))
    with refused(errno.EINVAL, "BO_USAGE with half a process number"):
        client.get_array(Array.BO_USAGE, bytes(4))


@EXPANDING
@pytest.mark.modes("sva")
@pytest.mark.mode
def test_o30_reuse_in_full_heap(heap: Heap) -> None:
    """O30: in a heap of 512 MiB a freed range is used again, and EAGAIN is never the answer.

    Source: amdxdna_gem.c, amdxdna_gem_heap_alloc().
    """
    devs = []
    for number in range(1, MAX_HEAP // CHUNK + 1):
        with works(f"chunk {number} and a DEV BO that fills it"):
            heap.add_chunk()
            devs.append(heap.create_dev(CHUNK))
    for dev in devs[1:5]:
        heap.client.close_bo(dev)
    for number in range(8):
        with works(f"DEV BO {number + 1} of 8 in a freed range"):
            heap.create_dev(CHUNK // 2)
