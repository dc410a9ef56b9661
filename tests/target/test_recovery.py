# SPDX-License-Identifier: GPL-2.0-only
"""Out of memory, firmware that refuses or is silent: the error is the right one, and the next try works."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from harness.drm import memory, structs
from harness.drm.client import Client
from harness.drm.device import Device
from harness.drm.heap import CHUNK, DEVICE_BASE, MIB, Heap
from harness.drm.structs import BoType
from harness.guest.cgroup import Cgroup, memory_group
from harness.guest.child import in_child
from harness.guest.counters import mailboxes, pinned_pages
from harness.guest.expect import falls_asleep, name_of, refused, works
from harness.guest.npu import Npu, buffers
from harness.guest.worker import Worker

EXPANDING = pytest.mark.generations("npu4", "npu5", "npu6")
USER_MEMORY = pytest.mark.modes("sva", "force-iova")
"""Without PASID or IOVA a buffer must be one piece of physical memory, which user memory rarely is."""
INVALID_PARAM = 0x4000003
NOBODY = 65534
PAGE = memory.PAGE


@contextmanager
def soft_limit(kind: int, value: int) -> Iterator[None]:
    """Lower a resource limit of this process for a while."""
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


def address_space() -> int:
    """Bytes of address space that this process uses (proc(5), statm)."""
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[0]) * PAGE


@EXPANDING
@pytest.mark.modes("sva")  # with force-iova the pages are allocated at creation (O11); carveout is no charged memory
@pytest.mark.mode
def test_o09_memory_group_full(device: Device) -> None:
    """O09: a process whose memory group is full cannot map a second chunk, lives on, and can later.

    Source: amdxdna_gem.c, amdxdna_gem_obj_mmap(); drm_gem_shmem_helper.c, drm_gem_shmem_get_pages().
    """

    def body(group: Cgroup) -> None:
        heap = Heap(Client.open(device.node))
        for number, expected in ((1, 0), (2, errno.ENOMEM)):
            with works(f"creating chunk {number}"):
                chunk = heap.create_chunk()
            call = heap.client.mmap_call(chunk.handle, chunk.size, heap.base + chunk.offset)
            error = max(0, -group.charge(call))
            assert error == expected, f"mapping chunk {number}: got {name_of(error)}, not {name_of(expected)}"
        with works("DEV BO in the first chunk"):
            heap.create_dev(MIB)
        with works("mapping the second chunk outside the group"):
            heap.map_chunk(chunk)
        with works("DEV BO across both chunks"):
            heap.create_dev(96 * MIB)

    with memory_group("o09", 96 * MIB) as group:
        in_child(lambda: body(group))


@EXPANDING
@pytest.mark.modes("sva")  # elsewhere the pages are allocated at creation
@pytest.mark.fw
@pytest.mark.mode
def test_o09_announcing_without_memory(device: Device) -> None:
    """O09: a chunk for whose pages there is no memory when a DEV BO wants to announce it is announced by the next.

    Source: amdxdna_ctx.c, amdxdna_hwctx_expand_heap() pins every chunk, also one that was never mapped.
    """

    def body(group: Cgroup) -> None:
        heap = Heap(Client.open(device.node))
        with works("first chunk and a context"):
            heap.add_chunk()
            worker = Worker(heap)
        with works("second chunk, left unmapped"):
            second = heap.create_chunk()
        error = max(0, -group.charge(heap.client.create_bo_call(BoType.DEV, MIB)))
        assert error == errno.ENOMEM, f"DEV BO in a group of 32 MiB: got {name_of(error)}, not ENOMEM"
        with works("mapping the second chunk, and a DEV BO, outside the group"):
            heap.map_chunk(second)
            heap.create_dev(MIB)
        worker.fetch(DEVICE_BASE + CHUNK, 4)

    with memory_group("o09", 32 * MIB) as group:
        in_child(lambda: body(group))


@pytest.mark.quick
@pytest.mark.mode
def test_o13_no_address_space(heap: Heap) -> None:
    """O13: a chunk that finds no room in the address space stays, and can be mapped when there is room.

    Source: amdxdna_gem.c, amdxdna_gem_obj_mmap() is not reached; mm/mmap.c, may_expand_vm().
    """
    with works("first chunk"):
        chunk = heap.create_chunk()
    with soft_limit(resource.RLIMIT_AS, address_space() + 16 * MIB):
        with refused(errno.ENOMEM, "mapping a chunk without room"):
            heap.client.map_bo(chunk.handle, chunk.size)
    with works("mapping it when there is room"):
        heap.map_chunk(chunk)
        heap.create_dev(MIB)


@pytest.mark.quick
@USER_MEMORY
@pytest.mark.mode
def test_o14_locked_memory_limit(device: Device) -> None:
    """O14: user memory counts against RLIMIT_MEMLOCK: none, too much, room again; CAP_IPC_LOCK is exempt.

    Source: amdxdna_ubuf.c, amdxdna_get_ubuf().
    """

    def body() -> None:
        client = Client.open(device.node)
        area = memory.anonymous(32 * PAGE)
        area.write(0, bytes(area.size))
        low, high = [(area.address, 12 * PAGE)], [(area.address + 16 * PAGE, 12 * PAGE)]
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 64 * 1024))
        with works("user memory with CAP_IPC_LOCK, limit 0"):
            client.close_bo(client.create_user_bo(low))
        os.setresuid(NOBODY, NOBODY, NOBODY)
        with refused(errno.EPERM, "user memory, limit 0"):
            client.create_user_bo(low)
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (64 * 1024, 64 * 1024))
        with works("48 KiB of user memory, limit 64 KiB"):
            first = client.create_user_bo(low)
        with refused(errno.ENOMEM, "48 KiB more"):
            client.create_user_bo(high)
        client.close_bo(first)
        with works("48 KiB after the first were freed"):
            client.create_user_bo(high)

    in_child(body)


@pytest.mark.quick
@pytest.mark.mode
def test_o15_half_of_it_missing(client: Client) -> None:
    """O15: user memory of which a half cannot be touched is refused, and no page stays pinned.

    Source: amdxdna_ubuf.c, amdxdna_get_ubuf(), "Partially pinned pages".
    """
    area = memory.anonymous(8 * PAGE)
    area.write(0, bytes(area.size))
    flags = memory.MAP_PRIVATE | memory.MAP_ANONYMOUS | memory.MAP_FIXED
    memory.mmap(area.address + 4 * PAGE, 4 * PAGE, memory.PROT_NONE, flags)
    before = pinned_pages()
    with refused(errno.ENOMEM, "user memory of which a half is PROT_NONE"):
        client.create_user_bo([(area.address, 8 * PAGE)])
    assert pinned_pages() == before
    area.unmap()


@pytest.mark.quick
def test_o16_size_overflow(client: Client) -> None:
    """O16: pieces of user memory whose sizes overflow 64 bits are refused before anything is pinned.

    Source: amdxdna_ubuf.c, amdxdna_get_ubuf(), check_add_overflow().
    """
    before = pinned_pages()
    with refused(errno.EINVAL, "user memory of 2^64 bytes"):
        client.create_user_bo([(0x10000, 1 << 63), (0x10000, 1 << 63)])
    with refused(errno.EINVAL, "user memory that is not page aligned"):
        client.create_user_bo([(0x10010, PAGE)])
    assert pinned_pages() == before


def test_o17_absurd_number_of_pieces(client: Client) -> None:
    """O17: a table of 2^32 pieces of user memory is refused without a word from the kernel.

    Source: amdxdna_ubuf.c, amdxdna_get_ubuf(): the table is allocated before it is looked at; any user may ask.
    """
    before = pinned_pages()
    table = ctypes.create_string_buffer(bytes(structs.VaTableHeader(dmabuf_fd=-1, num_entries=0xFFFFFFFF)) + bytes(64))
    with pytest.raises(OSError) as refusal:
        client.create_bo(BoType.SHARE, PAGE, vaddr=ctypes.addressof(table))
    assert refusal.value.errno in (errno.EINVAL, errno.ENOMEM), name_of(refusal.value.errno)
    assert pinned_pages() == before


@pytest.mark.root
def test_o17_absurd_size(client: Client) -> None:
    """O17: 2^44 bytes of user memory in one piece, whose pages do not fit into 32 bits, are refused, even if no limit
    on locked memory does.

    Source: amdxdna_ubuf.c, amdxdna_get_ubuf(): the pages are counted in a u32; the array of all of them is allocated
    before.
    """
    before = pinned_pages()
    with pytest.raises(OSError) as refusal:
        client.create_user_bo([(0x10000, 1 << 44)])
    assert refusal.value.errno in (errno.EINVAL, errno.ENOMEM), name_of(refusal.value.errno)
    assert pinned_pages() == before


@pytest.mark.quick
@EXPANDING
@pytest.mark.fw
def test_o20_firmware_refuses_a_chunk(heap: Heap, npu: Npu) -> None:
    """O20: when firmware refuses a chunk the DEV BO fails and leaves nothing; the next announces it again.

    Source: amdxdna_ctx.c, amdxdna_hwctx_expand_heap().
    """
    with works("first chunk and a context"):
        heap.add_chunk()
        worker = Worker(heap)
    with works("second chunk"):
        heap.add_chunk()
    used = heap.client.usage().heap
    since = npu.mark()
    npu.script({"opcode": "ADD_HOST_BUFFER", "status": INVALID_PARAM})
    with refused(errno.EINVAL, "DEV BO while firmware refuses the chunk"):
        heap.create_dev(MIB)
    assert heap.client.usage().heap == used, "the refused DEV BO is still counted"
    with works("DEV BO when firmware accepts the chunk"):
        heap.create_dev(MIB)
    assert [message["status"] for message in npu.messages(since, "ADD_HOST_BUFFER")] == [INVALID_PARAM, 0]
    assert worker.fetch(DEVICE_BASE + CHUNK, 4) == bytes(4)
    assert npu.trouble(since) == []


@pytest.mark.quick
@pytest.mark.fw
def test_o22_firmware_refuses_the_heap(heap: Heap, npu: Npu) -> None:
    """O22: when firmware refuses the heap's first chunk there is no context, and nothing of it is left.

    Source: aie2_ctx.c, aie2_hwctx_init().
    """
    with works("first chunk"):
        heap.add_chunk()
    used = heap.client.usage().heap
    npu.script({"opcode": "MAP_HOST_BUFFER", "status": INVALID_PARAM})
    with refused(errno.EINVAL, "context while firmware refuses the heap"):
        heap.client.create_hwctx()
    assert heap.client.contexts_alive() == 0
    assert heap.client.usage().heap == used
    assert mailboxes() == 1, "the context's interrupt is left"
    with works("context when firmware accepts the heap"):
        heap.client.create_hwctx()
    assert heap.client.contexts_alive() == 1


@EXPANDING
@pytest.mark.fw
def test_o22_firmware_refuses_the_third_chunk(heap: Heap, npu: Npu) -> None:
    """O22: when firmware refuses the third chunk of a new context there is no context, and the second is given back.

    Source: amdxdna_ctx.c, amdxdna_hwctx_release_expanded_heap(); the first version of the series kept it.
    """
    with works("three chunks"):
        for _ in range(3):
            heap.add_chunk()
    used = heap.client.usage().heap
    npu.script({"opcode": "ADD_HOST_BUFFER", "skip": 1, "status": INVALID_PARAM})
    with refused(errno.EINVAL, "context while firmware refuses the third chunk"):
        heap.client.create_hwctx()
    assert heap.client.contexts_alive() == 0
    assert heap.client.usage().heap == used
    assert mailboxes() == 1, "the context's interrupt is left"
    with works("context when firmware accepts all"):
        worker = Worker(heap)
    assert worker.fetch(DEVICE_BASE + 2 * CHUNK, 4) == bytes(4)


@pytest.mark.quick
@EXPANDING
@pytest.mark.fw
def test_o23_firmware_refuses_one_of_two(heap: Heap, npu: Npu) -> None:
    """O23: when firmware refuses a chunk for the second context only, the next try goes to that one only.

    Source: amdxdna_ctx.c, amdxdna_update_heap(): the first error ends it, what was attached stays.
    """
    with works("first chunk and two contexts"):
        heap.add_chunk()
        workers = [Worker(heap), Worker(heap)]
    with works("second chunk"):
        second = heap.add_chunk()
    since = npu.mark()
    npu.script({"opcode": "ADD_HOST_BUFFER", "skip": 1, "status": INVALID_PARAM})
    with refused(errno.EINVAL, "DEV BO while firmware refuses the chunk for one context"):
        heap.create_dev(MIB)
    with works("DEV BO when firmware accepts it"):
        heap.create_dev(MIB)
    messages = npu.messages(since, "ADD_HOST_BUFFER")
    contexts = [where for where, _, _ in buffers(messages)]
    assert len(contexts) == 3, f"{len(contexts)} announcements, not 3"
    assert contexts[1] == contexts[2] != contexts[0]
    assert second.mapping is not None
    second.mapping.write(0, b"both")
    assert [worker.fetch(DEVICE_BASE + CHUNK, 4) for worker in workers] == [b"both"] * 2


@EXPANDING
@pytest.mark.fw
def test_o24_firmware_is_silent(open_client: Callable[[], Client], npu: Npu, device: Device) -> None:
    """O24: firmware that is silent costs 5 s and its channel: then ENODEV, no hang, until it starts again.

    Source: amdxdna_mailbox_helper.c, RX_TIMEOUT; aie.c, aie_send_mgmt_msg_wait() destroys the channel.
    """
    heap = Heap(open_client())
    with works("first chunk and a context"):
        heap.add_chunk()
        heap.client.create_hwctx()
    with works("second chunk"):
        heap.add_chunk()
    npu.script({"opcode": "ADD_HOST_BUFFER", "drop": True})
    with refused(errno.ETIME, "DEV BO while firmware is silent"):
        heap.create_dev(MIB)
    with refused(errno.ENODEV, "DEV BO after firmware was silent"):
        heap.create_dev(MIB)
    heap.client.close()
    npu.reset()
    falls_asleep(device)
    again = Heap(open_client())
    with works("first chunk and a context after firmware was started again"):
        again.add_chunk()
        worker = Worker(again)
    worker.fetch(DEVICE_BASE, 4)
