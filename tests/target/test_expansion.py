# SPDX-License-Identifier: GPL-2.0-only
"""The device heap grows chunk by chunk: what CREATE_BO, mmap and SYNC_BO answer. No hardware context needed.

Expected is what the driver does with the series "expandable device heap" (Linux 7.2).
"""

from __future__ import annotations

import errno
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pytest

from harness.drm import memory
from harness.drm.client import Client
from harness.drm.heap import CHUNK, DEVICE_BASE, MAX_HEAP, MIB, Heap
from harness.drm.structs import INVALID, BoType
from harness.guest.expect import eventually, name_of, refused, works

EXPANDING = pytest.mark.generations("npu4", "npu5", "npu6")
"""NPU1's heap has one chunk only (npu1_regs.c, dev_heap_max_size)."""
UNMAPPED = (errno.EAGAIN, errno.EINVAL)
"""What a DEV BO on a heap that is not mapped is told: with the series, and before it."""


@pytest.mark.quick
@pytest.mark.mode
def test_e01_first_chunk(heap: Heap) -> None:
    """E01: a 64 MiB chunk is the heap's first, and a DEV BO begins where it is mapped.

    Source: amdxdna_gem.c, amdxdna_drm_create_dev_heap_bo().
    """
    with works("first chunk"):
        chunk = heap.add_chunk()
    assert heap.client.bo_info(chunk.handle).xdna_addr == DEVICE_BASE
    with works("DEV BO of 4 KiB"):
        dev = heap.create_dev(4096)
    info = heap.client.bo_info(dev)
    assert (info.xdna_addr, info.vaddr) == (DEVICE_BASE, heap.base)
    assert info.map_offset == INVALID, "a DEV BO must not be mapped by itself"


@pytest.mark.quick
@pytest.mark.parametrize("size", [0, 4096, CHUNK + 4096])
def test_e02_wrong_chunk_size(heap: Heap, size: int) -> None:
    """E02: a heap chunk that is no multiple of 64 MiB is refused, and counts nowhere.

    Source: amdxdna_gem.c, amdxdna_drm_create_dev_heap_bo().
    """
    with refused(errno.EINVAL, f"chunk of {size} bytes"):
        heap.create_chunk(size)
    assert heap.client.usage().total == 0


def test_e02_chunk_of_user_memory(heap: Heap) -> None:
    """E02: a chunk over a page of the process's own memory is refused, or does not stand in the way of a real one.

    Source: amdxdna_gem.c, amdxdna_drm_create_dev_heap_bo() looks at the size that the call says, and takes the chunk as
    large as its memory is.
    """
    area = memory.anonymous(memory.PAGE)
    area.write(0, bytes(memory.PAGE))
    with suppress(OSError):
        heap.client.create_user_bo([(area.address, memory.PAGE)], BoType.DEV_HEAP, CHUNK)
    with works("first chunk and a DEV BO"):
        heap.add_chunk()
        heap.create_dev(MIB)


@pytest.mark.quick
@EXPANDING
def test_e03_second_chunk(heap: Heap) -> None:
    """E03: a second chunk is accepted and follows the first in the NPU's address space.

    Source: amdxdna_gem.c, amdxdna_drm_create_dev_heap_bo(); before the series EBUSY.
    """
    with works("first chunk"):
        heap.create_chunk()
    with works("second chunk"):
        second = heap.create_chunk()
    assert heap.client.bo_info(second.handle).xdna_addr == DEVICE_BASE + CHUNK


@pytest.mark.quick
@EXPANDING
def test_e04_chunks_until_full(heap: Heap) -> None:
    """E04: eight chunks fill the heap; a ninth is refused, changes nothing, and disturbs nobody.

    Source: amdxdna_gem.c, amdxdna_drm_create_dev_heap_bo(); npu4_regs.c, dev_heap_max_size.
    """
    with works("first chunk and a DEV BO"):
        heap.add_chunk()
        view = heap.view(heap.create_dev(4096), 4096)
    view.write(0, b"before")
    for number in range(2, MAX_HEAP // CHUNK + 1):
        with works(f"chunk {number}"):
            heap.create_chunk()
    with refused(errno.ENOSPC, "chunk 9"):
        heap.create_chunk()
    assert heap.client.usage().total == MAX_HEAP
    assert view.read(0, 6) == b"before"
    with works("DEV BO after the refused chunk"):
        heap.create_dev(4096)


@pytest.mark.quick
@pytest.mark.generations("npu1")
def test_e05_one_chunk_only(heap: Heap) -> None:
    """E05: the heap of NPU1 has one chunk; a second is refused and changes nothing.

    Source: npu1_regs.c, dev_heap_max_size; before the series EBUSY.
    """
    with works("first chunk"):
        heap.add_chunk()
    with refused(errno.ENOSPC, "second chunk on NPU1"):
        heap.create_chunk()
    with works("DEV BO as large as the heap"):
        heap.create_dev(CHUNK)


@pytest.mark.quick
@EXPANDING
def test_e06_large_chunks(open_client: Callable[[], Client]) -> None:
    """E06: a chunk may be several times 64 MiB, but not larger than the largest heap.

    Source: amdxdna_gem.c, amdxdna_drm_create_dev_heap_bo(); before the series there was no maximum.
    """
    first = Heap(open_client())
    with works("chunk of 128 MiB"):
        first.create_chunk(2 * CHUNK)
    with works("chunk behind it"):
        behind = first.create_chunk()
    assert first.client.bo_info(behind.handle).xdna_addr == DEVICE_BASE + 2 * CHUNK
    second = Heap(open_client())
    with refused(errno.ENOSPC, "chunk of 576 MiB"):
        second.create_chunk(MAX_HEAP + CHUNK)
    assert second.client.fdinfo_bytes("internal-alloc") == 0


@pytest.mark.quick
@EXPANDING
@pytest.mark.modes("sva")  # elsewhere all pages are there at creation: seconds, and nothing more to learn
@pytest.mark.mode
def test_e06_largest_chunk(heap: Heap) -> None:
    """E06: one chunk may be the whole heap; then nothing fits behind it.

    Source: amdxdna_gem.c, amdxdna_drm_create_dev_heap_bo().
    """
    with works("chunk of 512 MiB"):
        heap.create_chunk(MAX_HEAP)
    with refused(errno.ENOSPC, "chunk behind it"):
        heap.create_chunk()


@EXPANDING
@pytest.mark.modes("sva")  # elsewhere a chunk's pages are all allocated at creation
@pytest.mark.mode
def test_e04_threads_fill_the_heap(heap: Heap) -> None:
    """E04: threads that add chunks at the same time get eight between them, and not one more.

    Source: amdxdna_gem.c, amdxdna_drm_create_dev_heap_bo(), mm_lock.
    """
    answers: list[str] = []

    def add_some() -> None:
        for _ in range(4):
            try:
                heap.client.create_bo(BoType.DEV_HEAP, CHUNK)
                answers.append("success")
            except OSError as error:
                answers.append(name_of(error.errno))

    threads = [threading.Thread(target=add_some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(answers) == {"success": 8, "ENOSPC": 8}
    assert heap.client.usage().total == MAX_HEAP


@EXPANDING
def test_e06_behind_a_large_chunk(heap: Heap) -> None:
    """E06: a DEV BO may lie in a chunk of 128 MiB and the one behind it.

    Source: amdxdna_gem.c, amdxdna_init_dev_bo(), exp_heap_uva.
    """
    with works("chunks of 128 MiB and 64 MiB"):
        heap.add_chunk(2 * CHUNK)
        heap.add_chunk()
    with works("DEV BO of 160 MiB across both"):
        dev = heap.create_dev(160 * MIB)
    assert heap.client.bo_info(dev).vaddr == heap.base


@EXPANDING
@pytest.mark.modes("sva")  # elsewhere so much memory is asked for at once
@pytest.mark.mode
def test_e06_chunk_beyond_32_bits(heap: Heap) -> None:
    """E06: a chunk whose size takes more than 32 bits is larger than the largest heap, too.

    Source: amdxdna_gem.c, amdxdna_drm_create_dev_heap_bo().
    """
    with refused(errno.ENOSPC, "chunk of 4 GiB and 64 MiB"):
        heap.create_chunk((1 << 32) + CHUNK)
    assert heap.client.usage().total == 0


@pytest.mark.quick
def test_e07_no_heap(client: Client) -> None:
    """E07: a DEV BO without any heap asks for one.

    Source: amdxdna_gem.c, amdxdna_init_dev_bo(); before the series EINVAL.
    """
    with refused(errno.EAGAIN, "DEV BO on an empty client"):
        Heap(client).create_dev(4096)


@pytest.mark.quick
@pytest.mark.mode
def test_e08_unmapped_heap(heap: Heap) -> None:
    """E08: a chunk that was never mapped does not count.

    Source: amdxdna_gem.c, amdxdna_init_dev_bo(); before the series EINVAL.
    """
    with works("first chunk, left unmapped"):
        chunk = heap.create_chunk()
    with refused(errno.EAGAIN, "DEV BO on an unmapped heap"):
        heap.create_dev(4096)
    with works("mapping it and trying again"):
        heap.map_chunk(chunk)
        heap.create_dev(4096)


@pytest.mark.mode
def test_e08_one_page_mapped(heap: Heap) -> None:
    """E08: a chunk of which one page is mapped does not count as mapped: a DEV BO is told an address in it.

    Source: amdxdna_gem.c, amdxdna_hmm_register() notes where a mapping begins, not how long it is.
    """
    with works("first chunk, and its first page mapped"):
        chunk = heap.create_chunk()
        heap.client.map_bo(chunk.handle, memory.PAGE, address=heap.base)
    with pytest.raises(OSError) as refusal:
        heap.create_dev(MIB)
    assert refusal.value.errno in UNMAPPED, name_of(refusal.value.errno)


@pytest.mark.modes("force-iova")  # elsewhere the driver hears of it, or the carveout allows it
@pytest.mark.mode
def test_e08_mapping_refused(heap: Heap) -> None:
    """E08: a chunk whose mapping was refused does not count as mapped.

    Source: amdxdna_gem.c, amdxdna_hmm_register() notes the address before drm_gem_shmem_mmap() refuses MAP_PRIVATE.
    """
    with works("first chunk"):
        chunk = heap.create_chunk()
    with refused(errno.EINVAL, "private mapping of a chunk"):
        heap.client.map_bo(chunk.handle, CHUNK, address=heap.base, flags=memory.MAP_PRIVATE)
    with pytest.raises(OSError) as refusal:
        heap.create_dev(MIB)
    assert refusal.value.errno in UNMAPPED, name_of(refusal.value.errno)


@pytest.mark.quick
@EXPANDING
@pytest.mark.mode
def test_e09_expand_on_demand(heap: Heap) -> None:
    """E09: a DEV BO that does not fit asks for more heap, and fits once a chunk was added.

    Source: amdxdna_gem.c, amdxdna_init_dev_bo().
    """
    with works("first chunk"):
        heap.add_chunk()
    with refused(errno.EAGAIN, "DEV BO of 96 MiB on 64 MiB of heap"):
        heap.create_dev(96 * MIB)
    assert heap.client.usage().heap == 0, "the refused DEV BO is still counted"
    with works("second chunk"):
        heap.add_chunk()
    with works("DEV BO of 96 MiB on 128 MiB of heap"):
        dev = heap.create_dev(96 * MIB)
    assert heap.client.bo_info(dev).vaddr == heap.base


@EXPANDING
def test_e10_expansion_loop(open_client: Callable[[], Client]) -> None:
    """E10: the loop "EAGAIN, add a chunk, try again" ends with as many chunks as the size needs.

    Source: amdxdna_gem.c, amdxdna_init_dev_bo().
    """
    for size, chunks in ((MIB, 1), (65 * MIB, 2), (200 * MIB, 4)):
        heap = Heap(open_client())
        with refused(errno.EAGAIN, f"DEV BO of {size // MIB} MiB without heap"):
            heap.create_dev(size)
        with works(f"expanding for {size // MIB} MiB"):
            heap.allocate(size)
        assert len(heap.chunks) == chunks, f"{size // MIB} MiB took {len(heap.chunks)} chunks"
        heap.client.close()
        heap.release()


@EXPANDING
@pytest.mark.modes("sva")  # where the DEV BO lies does not depend on it, and elsewhere a chunk takes seconds
@pytest.mark.mode
def test_e10_freed_range_before_expansion(heap: Heap) -> None:
    """E10: a DEV BO that fits into a range that was freed is put there, and no chunk is asked for.

    Source: amdxdna_gem.c, amdxdna_gem_heap_alloc() takes the smallest hole of the largest heap, which here is the 192
    MiB that have no chunk yet, and not the 256 MiB that were freed.
    """
    with works("heap of 320 MiB, filled by two DEV BOs"):
        heap.add_chunk(5 * CHUNK)
        large = heap.create_dev(4 * CHUNK)
        heap.create_dev(CHUNK)
    heap.client.close_bo(large)
    with works("DEV BO of 64 MiB in the 256 MiB that were freed"):
        heap.create_dev(CHUNK)


@pytest.mark.quick
@EXPANDING
@pytest.mark.mode
def test_e12_chunks_not_adjacent(heap: Heap) -> None:
    """E12: a DEV BO over chunks that do not follow each other in the process is refused; inside one it works.

    Source: amdxdna_gem.c, amdxdna_init_dev_bo(), "uva is not contiguous".
    """
    with works("first chunk"):
        heap.add_chunk()
    with works("second chunk, mapped elsewhere"):
        heap.map_chunk(heap.create_chunk(), heap.base + 3 * CHUNK)
    with refused(errno.EINVAL, "DEV BO across chunks that are not adjacent"):
        heap.create_dev(96 * MIB)
    with works("DEV BO inside the first chunk"):
        dev = heap.create_dev(MIB)
    assert heap.client.bo_info(dev).vaddr == heap.base


@EXPANDING
@pytest.mark.mode
def test_e12_begins_at_the_border(heap: Heap) -> None:
    """E12: a DEV BO that begins where the second chunk does lies in that one only, wherever the first is mapped.

    Source: amdxdna_gem.c, amdxdna_init_dev_bo().
    """
    elsewhere = heap.base + 3 * CHUNK
    with works("first chunk, full"):
        heap.add_chunk()
        heap.create_dev(CHUNK)
    with works("second chunk, mapped elsewhere"):
        heap.map_chunk(heap.create_chunk(), elsewhere)
    with works("DEV BO in the second chunk"):
        dev = heap.create_dev(MIB)
    info = heap.client.bo_info(dev)
    assert (info.xdna_addr, info.vaddr) == (DEVICE_BASE + CHUNK, elsewhere)


@pytest.mark.quick
@EXPANDING
@pytest.mark.mode
def test_e13_second_chunk_unmapped(heap: Heap) -> None:
    """E13: a chunk counts once it is mapped, not when it is created.

    Source: amdxdna_gem.c, amdxdna_init_dev_bo().
    """
    with works("first chunk"):
        heap.add_chunk()
    with works("second chunk"):
        second = heap.create_chunk()
    with refused(errno.EAGAIN, "DEV BO across an unmapped chunk"):
        heap.create_dev(96 * MIB)
    with works("mapping it and trying again"):
        heap.map_chunk(second)
        heap.create_dev(96 * MIB)


@pytest.mark.quick
@EXPANDING
@pytest.mark.modes("sva")  # elsewhere munmap is not noticed: amdxdna_hmm_register() leaves early
@pytest.mark.mode
def test_e14_chunk_unmapped_again(heap: Heap) -> None:
    """E14: after munmap a chunk does not count any more; a DEV BO that is there can still be freed.

    Source: amdxdna_gem.c, amdxdna_umap_release().
    """
    with works("two chunks and a DEV BO across them"):
        heap.add_chunk()
        second = heap.add_chunk()
        spanning = heap.create_dev(96 * MIB)
    heap.unmap_chunk(second)
    client = heap.client
    eventually(lambda: client.bo_info(second.handle).vaddr == INVALID, "the driver notices the munmap")
    with refused(errno.EAGAIN, "DEV BO across a chunk that is not mapped any more"):
        heap.create_dev(30 * MIB)
    with works("freeing the DEV BO that was there"):
        client.close_bo(spanning)
    assert client.usage().heap == 0


@pytest.mark.quick
@pytest.mark.modes("sva")  # elsewhere munmap is not noticed
@pytest.mark.mode
def test_e14_one_of_two_maps(heap: Heap) -> None:
    """E14: a chunk that is mapped twice counts as mapped until both maps are gone.

    The driver works unmapped ranges off in their order: when it knows of the later one, it knows of this.
    Source: amdxdna_gem.c, amdxdna_umap_release(), notifier_wq.
    """
    client = heap.client
    with works("first chunk, mapped twice, and a SHARE BO"):
        chunk = heap.add_chunk()
        other = client.map_bo(chunk.handle, CHUNK)
        share = client.create_bo(BoType.SHARE, 4096)
        later = client.map_bo(share, 4096)
    client.unmap(other)
    client.unmap(later)
    eventually(lambda: client.bo_info(share).vaddr == INVALID, "the driver notices the munmap")
    assert client.bo_info(chunk.handle).vaddr == heap.base
    with works("DEV BO in the chunk that is still mapped"):
        heap.create_dev(4096)


@pytest.mark.modes("force-iova", "carveout")  # with sva: test_e14_chunk_unmapped_again
@pytest.mark.mode
def test_e14_chunk_unmapped_elsewhere(heap: Heap) -> None:
    """E14: where the driver has no notifier, too, a chunk does not count any more after munmap.

    Source: amdxdna_gem.c, amdxdna_hmm_register() notes the address; nobody takes it back.
    """
    with works("first chunk"):
        chunk = heap.add_chunk()
    heap.unmap_chunk(chunk)
    with pytest.raises(OSError) as refusal:
        heap.create_dev(MIB)
    assert refusal.value.errno in UNMAPPED, name_of(refusal.value.errno)


@EXPANDING
def test_e15_heap_full(heap: Heap) -> None:
    """E15: larger than the largest heap is EINVAL; a full heap is ENOSPC, not EAGAIN: a chunk cannot help.

    Source: amdxdna_gem.c, amdxdna_gem_heap_alloc().
    """
    with refused(errno.EINVAL, "DEV BO larger than the largest heap"):
        heap.create_dev(MAX_HEAP + 4096)
    for number in range(1, MAX_HEAP // CHUNK + 1):
        with works(f"chunk {number} and a DEV BO that fills it"):
            heap.add_chunk()
            heap.create_dev(CHUNK)
    with refused(errno.ENOSPC, "DEV BO of 32 KiB in a full heap"):
        heap.create_dev(32 * 1024)
    assert heap.client.usage().heap == MAX_HEAP


def test_e15_dev_bo_beyond_32_bits(heap: Heap) -> None:
    """E15: a DEV BO whose size takes more than 32 bits is larger than the largest heap, too.

    Source: amdxdna_gem.c, amdxdna_drm_create_dev_bo(), amdxdna_gem_heap_alloc().
    """
    with works("first chunk"):
        heap.add_chunk()
    with refused(errno.EINVAL, "DEV BO of 4 GiB and 4 KiB"):
        heap.create_dev((1 << 32) + 4096)


@EXPANDING
@pytest.mark.mode
def test_e20_two_clients(open_client: Callable[[], Client]) -> None:
    """E20: two clients expand their heaps at the same NPU addresses and do not notice each other.

    Source: amdxdna_pci_drv.h, struct amdxdna_client: the heap is the client's.
    """
    heaps = [Heap(open_client()), Heap(open_client())]
    views = []
    for number, heap in enumerate(heaps):
        with works(f"two chunks and a DEV BO across them, client {number}"):
            heap.add_chunk()
            heap.add_chunk()
            dev = heap.create_dev(96 * MIB)
        assert heap.client.bo_info(dev).xdna_addr == DEVICE_BASE
        views.append(heap.view(dev, 96 * MIB))
    for number, view in enumerate(views):
        view.write(CHUNK - 4, bytes([number + 1]) * 8)
    heaps[0].client.close()
    assert views[1].read(CHUNK - 4, 8) == b"\2" * 8
    with works("DEV BO of the client that is left"):
        heaps[1].create_dev(MIB)


@pytest.mark.quick
@EXPANDING
@pytest.mark.modes("sva", "force-iova")  # carveout memory is imported, which SYNC_BO refuses: EOPNOTSUPP
@pytest.mark.mode
def test_e31_sync_across_chunks(heap: Heap) -> None:
    """E31: SYNC_BO flushes a DEV BO that lies in two chunks: whole, across the border, its last byte.

    Source: amdxdna_gem.c, amdxdna_drm_sync_bo_ioctl().
    """
    with works("two chunks and a DEV BO across them"):
        heap.add_chunk()
        heap.add_chunk()
        dev = heap.create_dev(96 * MIB)
    for what, offset, size in (
        ("across the border", CHUNK - 4096, 8192),
        ("its last byte", 96 * MIB - 1, 1),
        ("nothing", 0, 0),
    ):
        with works(f"SYNC_BO of a DEV BO in two chunks, {what}"):
            heap.client.sync_bo(dev, offset, size)


@pytest.mark.modes("sva", "force-iova")  # carveout memory is imported, which SYNC_BO refuses: EOPNOTSUPP
@pytest.mark.mode
def test_e31_sync_of_nothing_at_the_end(client: Client) -> None:
    """E31: SYNC_BO that begins where the buffer ends does nothing or is refused, without a word from the kernel.

    Nothing is asked for, so no kernel touches memory behind the buffer. Source: amdxdna_gem.c, amdxdna_flush_bo(),
    "Can not get flush memory".
    """
    with works("SHARE BO"):
        share = client.create_bo(BoType.SHARE, memory.PAGE)
    with suppress(OSError):
        client.sync_bo(share, memory.PAGE, 0)


@pytest.mark.mode
def test_e31_sync_of_user_memory(client: Client) -> None:
    """E31: SYNC_BO of user memory works or is refused, without a word from the kernel.

    Source: amdxdna_gem.c, amdxdna_flush_bo() does not flush what was imported.
    """
    area = memory.anonymous(memory.PAGE)
    area.write(0, bytes(memory.PAGE))
    with works("a page of user memory"):
        handle = client.create_user_bo([(area.address, memory.PAGE)])
    with suppress(OSError):
        client.sync_bo(handle, 0, memory.PAGE)
