# SPDX-License-Identifier: GPL-2.0-only
"""One buffer in several files, processes and threads."""

from __future__ import annotations

import errno
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.drm import memory
from harness.drm.client import Client
from harness.drm.device import Device
from harness.drm.heap import CHUNK, MAX_HEAP, MIB, Heap
from harness.drm.structs import BoType
from harness.guest.child import in_child, in_children
from harness.guest.counters import pinned_pages, shared_memory
from harness.guest.expect import eventually, name_of, works

EXPANDING = pytest.mark.generations("npu4", "npu5", "npu6")
SHARED_MEMORY = pytest.mark.modes("sva", "force-iova")
"""Where buffers are shared memory, which the system counts; carveout memory it does not."""
RACE_SECONDS = 2.0
PROCESSES = 3
SIZE = 8 * MIB


@SHARED_MEMORY
@pytest.mark.mode
@pytest.mark.quick
@pytest.mark.parametrize("order", ["importer first", "exporter first", "mappings last"])
def test_l10_imported_buffer(open_client: Callable[[], Client], order: str) -> None:
    """L10: a buffer that another file imported is the same memory, and is given back with the last that has it.

    Source: amdxdna_gem.c, amdxdna_gem_prime_import(), amdxdna_gem_dmabuf_mmap().
    """
    before = shared_memory()
    exporter, importer = open_client(), open_client()
    with works("SHARE BO, exported, imported by another file, mapped by both"):
        share = exporter.create_bo(BoType.SHARE, SIZE)
        mine = exporter.map_bo(share, SIZE)
        fd = exporter.export(share)
        theirs = importer.import_fd(fd)
        other = importer.map_bo(theirs, SIZE)
    os.close(fd)
    mine.write(5000, b"one memory")
    assert other.read(5000, 10) == b"one memory"
    steps = {
        "importer first": (importer.close, exporter.close),
        "exporter first": (exporter.close, importer.close),
        "mappings last": (lambda: importer.close_bo(theirs), lambda: exporter.close_bo(share)),
    }[order]
    steps[0]()
    if order != "mappings last":
        left = mine if order == "importer first" else other
        assert left.read(5000, 10) == b"one memory"
    steps[1]()
    exporter.close()
    importer.close()
    eventually(lambda: shared_memory() - before < SIZE // 2, "the memory is given back")


@pytest.mark.modes("sva", "force-iova")
@pytest.mark.mode
def test_l13_part_of_a_chunk_unmapped(heap: Heap) -> None:
    """L13: a chunk of which a page was unmapped counts as mapped or as not (EAGAIN, before the series EINVAL);
    nothing breaks, and all is given back.

    Source: amdxdna_gem.c, amdxdna_hmm_invalidate(), amdxdna_umap_release().
    """
    before = shared_memory()
    with works("first chunk"):
        heap.add_chunk()
    memory.munmap(heap.base + CHUNK // 2, memory.PAGE)
    time.sleep(0.1)  # the driver hears of it in a workqueue of its own
    try:
        heap.client.close_bo(heap.create_dev(MIB))
        error = 0
    except OSError as refusal:
        error = refusal.errno or 0
    assert error in (0, errno.EAGAIN, errno.EINVAL), f"DEV BO in a chunk with a hole: got {name_of(error)}"
    heap.client.close()
    eventually(lambda: shared_memory() - before < CHUNK // 4, "the chunk is given back")


@SHARED_MEMORY
@pytest.mark.mode
@pytest.mark.quick
@pytest.mark.parametrize("first", ["child", "parent"])
def test_l25_user_memory_and_fork(open_client: Callable[[], Client], first: str) -> None:
    """L25: user memory stays pinned once, whoever forked in between, and is unpinned by the buffer's end alone.

    Source: amdxdna_ubuf.c, amdxdna_ubuf_release().
    """
    client = open_client()
    area = memory.anonymous(MIB)
    area.write(0, bytes(MIB))
    before = pinned_pages()
    with works("user memory"):
        handle = client.create_user_bo([(area.address, MIB)])
    assert pinned_pages() - before == MIB // memory.PAGE
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    try:
        if first == "parent":
            client.close_bo(handle)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if first == "child":
        assert pinned_pages() - before == MIB // memory.PAGE, "the child's end unpinned what is not its own"
        client.close_bo(handle)
    eventually(lambda: pinned_pages() == before, "the pages are unpinned")
    area.unmap()


@pytest.mark.stress
def test_l26_counts_never_underflow(client: Client) -> None:
    """L26: what is counted while threads create and close buffers is never below zero, and zero in the end.

    Source: amdxdna_gem.c, amdxdna_gem_add_bo_usage(), amdxdna_gem_del_bo_usage().
    """
    stop = time.monotonic() + RACE_SECONDS
    trouble: list[str] = []

    def churn() -> None:
        while time.monotonic() < stop:
            client.close_bo(client.create_bo(BoType.SHARE, 64 * 1024))

    def watch() -> None:
        while time.monotonic() < stop:
            usage = client.usage()
            if max(usage.total, usage.internal, usage.heap) > MAX_HEAP:
                trouble.append(str(usage))

    threads = [threading.Thread(target=body) for body in (churn, churn, churn, watch)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not trouble, trouble[:3]
    assert client.usage().total == 0


@pytest.mark.stress
def test_l26_processes_on_one_file(heap: Heap) -> None:
    """L26: processes that inherited one file create and close DEV BOs in it at the same time: none gets what another
    has, and the heap is whole in the end. Threads of Python's are seldom in the driver together.

    Source: amdxdna_gem.c, amdxdna_gem_heap_alloc(), amdxdna_gem_heap_free(), mm_lock.
    """
    with works("first chunk"):
        heap.add_chunk()
    stop = time.monotonic() + 2 * RACE_SECONDS

    def churn() -> None:
        while time.monotonic() < stop:
            mine = [heap.create_dev(4096) for _ in range(200)]
            for handle in mine:
                heap.client.close_bo(handle)

    in_children([churn] * PROCESSES)
    assert heap.client.usage().heap == 0
    with works("a DEV BO as large as the heap"):
        heap.create_dev(CHUNK)


@EXPANDING
@pytest.mark.modes("sva")  # elsewhere a chunk's pages are all allocated at creation: minutes
@pytest.mark.stress
@pytest.mark.mode
def test_e21_everything_at_once(heap: Heap) -> None:
    """E21: DEV BOs, chunks and mappings that threads make and end on one file keep the accounts right.

    Without a context: with one, 7.3 may deadlock (test_l35). Source: amdxdna_gem.c, mm_lock.
    """
    client, stop = heap.client, time.monotonic() + RACE_SECONDS
    with works("first chunk"):
        heap.add_chunk()
    trouble: list[str] = []

    def devs(seed: int) -> None:
        chance, mine = random.Random(seed), list[int]()
        while time.monotonic() < stop:
            try:
                mine.append(heap.create_dev(chance.randrange(1, 2 * MIB)))
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.ENOSPC, errno.EINVAL):
                    trouble.append(f"DEV BO: {name_of(error.errno)}")
            while len(mine) > 5 or (mine and time.monotonic() > stop):
                client.close_bo(mine.pop(chance.randrange(len(mine))))

    def chunks() -> None:
        while time.monotonic() < stop and heap.size < MAX_HEAP:
            try:
                heap.unmap_chunk(heap.add_chunk())
            except OSError as error:
                trouble.append(f"chunk {len(heap.chunks) + 1}: {name_of(error.errno)}")
                return

    threads = [threading.Thread(target=devs, args=(n,)) for n in range(3)] + [threading.Thread(target=chunks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not trouble, trouble[:5]
    for chunk in heap.chunks:
        client.close_bo(chunk.handle)
    eventually(lambda: client.usage().heap < 6 * 2 * MIB, "DEV BOs are freed")
    assert client.usage().total == 0


@EXPANDING
@pytest.mark.modes("sva")  # with force-iova the pages are there at creation, which a signal does not reach either
@pytest.mark.mode
def test_o18_killed_while_mapping(device: Device) -> None:
    """O18: a process that is killed while it maps half a heap ends within seconds, and all of it is given back.

    Source: amdxdna_gem.c, amdxdna_gem_obj_mmap() inserts every page before it returns.
    """
    before = shared_memory()
    child = os.fork()
    if child == 0:
        try:
            Heap(Client.open(device.node)).add_chunk(MAX_HEAP // 2)
        finally:
            os._exit(0)
    eventually(lambda: shared_memory() - before > CHUNK, "the child maps", 20.0)
    started = time.monotonic()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert time.monotonic() - started < 40, "the process took long to end"
    eventually(lambda: shared_memory() - before < CHUNK // 4, "the memory is given back")


@SHARED_MEMORY
@pytest.mark.root
@pytest.mark.mode
def test_o31_killed_for_want_of_memory(device: Device) -> None:
    """O31: the process that the system kills for want of memory gives back its heap, and the device serves others.

    The kernel is told to do it (sysrq f), which takes no memory from the others. Source: mm/oom_kill.c.
    """
    before = shared_memory()

    def body() -> None:
        Path("/proc/self/oom_score_adj").write_text("1000")
        heap = Heap(Client.open(device.node))
        with works("first chunk and a DEV BO"):
            heap.add_chunk()
            heap.create_dev(MIB)
        Path("/proc/sysrq-trigger").write_text("f")
        time.sleep(10)

    with pytest.raises(AssertionError, match="killed by SIGKILL"):
        in_child(body)
    eventually(lambda: shared_memory() - before < CHUNK // 4, "the memory of the process is back")
    Client.open(device.node).close()
