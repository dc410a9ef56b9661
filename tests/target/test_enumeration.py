# SPDX-License-Identifier: GPL-2.0-only
"""Every allocation that the driver makes fails once: the call says ENOMEM, nothing stays behind, the next call works.

Each site is visited in a fresh file; what did not recover is listed by call site, all of a scenario at once. An
allocation may fail and the call succeed, when the kernel had another way; then the result must be whole.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from typing import ClassVar

import pytest

from harness.drm import memory
from harness.drm.client import Client, Usage
from harness.drm.device import Device
from harness.drm.heap import CHUNK, Heap
from harness.drm.structs import INVALID, BoType
from harness.guest.counters import pinned_pages
from harness.guest.expect import eventually, name_of, refused
from harness.guest.faults import EACH, Faults, place
from harness.guest.npu import Npu
from harness.guest.worker import Worker

pytestmark = pytest.mark.enumeration
Measure = Callable[[str, float, str], None]
SIZE = 64 << 10


class Scenario:
    """One call to fail. Each round: a new object on a new file, ``act`` while it fails, ``again`` without."""

    errors: ClassVar[tuple[int, ...]] = (errno.ENOMEM,)
    """What the call may say when it has no memory; empty: anything but success."""
    each: ClassVar[int] = EACH
    """So many of its allocations fail one by one, before the steps grow."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.heap = Heap(client)
        try:
            self.prepare()
        except OSError:
            client.close()
            raise

    def prepare(self) -> None:
        """What must be there before the call."""

    def act(self) -> None:
        """The call. Raises OSError."""
        raise NotImplementedError

    def accounting(self) -> tuple[Usage, int]:
        """What the client uses, and the pages pinned in the whole system."""
        return self.client.usage(), pinned_pages()

    def works(self) -> None:
        """Ask what the call was for. Raises OSError."""

    def close(self) -> None:
        """Give everything back."""
        self.client.close()
        self.heap.release()


class Share(Scenario):
    def act(self) -> None:
        self.client.create_bo(BoType.SHARE, SIZE)


class Command(Scenario):
    def act(self) -> None:
        self.client.create_bo(BoType.CMD, 4096)


class User(Scenario):
    def prepare(self) -> None:
        self.memory = memory.anonymous(SIZE)

    def act(self) -> None:
        self.client.create_user_bo([(self.memory.address, SIZE)])

    def close(self) -> None:
        super().close()
        self.memory.unmap()


class Dev(Scenario):
    def prepare(self) -> None:
        self.heap.add_chunk()

    def act(self) -> None:
        self.heap.create_dev(SIZE)


class Chunk(Scenario):
    def act(self) -> None:
        self.heap.create_chunk()

    def works(self) -> None:
        """The first chunk that was created is the heap: a DEV BO fills it."""
        for chunk in self.heap.chunks[:1]:
            self.heap.map_chunk(chunk)
        self.heap.create_dev(CHUNK)


class Context(Scenario):
    def prepare(self) -> None:
        self.heap.add_chunk()

    def act(self) -> None:
        self.client.create_hwctx()


class Expanding(Scenario):
    """The DEV BO needs the second chunk, which the context does not know yet."""

    def prepare(self) -> None:
        self.heap.add_chunk()
        self.client.create_hwctx()
        self.heap.create_dev(CHUNK // 2)
        self.heap.add_chunk()

    def act(self) -> None:
        self.heap.create_dev(CHUNK)


class Export(Scenario):
    def prepare(self) -> None:
        self.handle = self.client.create_bo(BoType.SHARE, SIZE)

    def act(self) -> None:
        os.close(self.client.export(self.handle))


class Import(Export):
    def prepare(self) -> None:
        super().prepare()
        self.fd = self.client.export(self.handle)
        self.other = Client.open(f"/proc/self/fd/{self.client.fd}")

    def act(self) -> None:
        self.other.import_fd(self.fd)

    def close(self) -> None:
        self.other.close()
        os.close(self.fd)
        super().close()


class Map(Export):
    def act(self) -> None:
        self.client.map_bo(self.handle, SIZE)


class MapChunk(Scenario):
    """At the same address again; a DEV BO in between finds that the chunk is not mapped, as soon as the driver does."""

    each = 8  # each costs a chunk

    def prepare(self) -> None:
        self.chunk = self.heap.create_chunk()

    def act(self) -> None:
        try:
            self.heap.map_chunk(self.chunk)
        except OSError:
            eventually(self._unmapped, "the driver notices that the chunk was not mapped")
            with refused(errno.EAGAIN, "DEV BO in a chunk that could not be mapped"):
                self.heap.create_dev(SIZE)
            raise

    def _unmapped(self) -> bool:
        return self.client.bo_info(self.chunk.handle).vaddr == INVALID

    def works(self) -> None:
        self.heap.create_dev(CHUNK)


class LateContext(Context):
    """The context is there when the call fails. A handle that nobody was told shows in the next one."""

    def accounting(self) -> tuple[Usage, int]:
        usage, pages = super().accounting()
        lowest = self.client.create_syncobj()
        self.client.destroy_syncobj(lowest)
        return usage, pages + lowest


class Resume(Scenario):
    """The sleeping device is woken. How it says that it has no memory is its own affair."""

    errors = ()

    def prepare(self) -> None:
        Device.find().suspend()

    def act(self) -> None:
        self.client.contexts_alive()

    def accounting(self) -> tuple[Usage, int]:
        return Usage(0, 0, 0), pinned_pages()  # to ask for usage would wake it


class MapForDevice(Share):
    """With force_iova: the NPU must then reach the buffer's first page and its last."""

    def act(self) -> None:
        self.handle = self.client.create_bo(BoType.SHARE, SIZE)

    def works(self) -> None:
        memory = self.client.map_bo(self.handle, SIZE)
        self.heap.add_chunk()
        worker = Worker(self.heap)
        for offset in (0, SIZE - 4):
            memory.write(offset, b"here")
            assert worker.fetch(self.client.bo_info(self.handle).xdna_addr + offset, 4, [self.handle]) == b"here"


KNOWN: dict[type[Scenario], tuple[str, ...]] = {
    Chunk: ("amdxdna_drm_create_bo_ioctl > drm_gem_handle_create",),
    Context: (
        "xrs_allocate_resource > __kmalloc_cache_noprof",
        "xdna_mailbox_start_channel > request_threaded_irq",
    ),
}
"""Places that do not recover in 7.3: asked by a test each, which jobs/known.toml names, so that they hide no other."""
SHMEM = "drm_gem_shmem_create"
"""Says ENOSPC when there is no memory for the inode: mm/shmem.c, __shmem_file_setup(); not the driver's choice."""


def function(site: str) -> str:
    """The driver's function in a place."""
    return site.partition(" > ")[0]


def sweep(faults: Faults, device: Device, kind: type[Scenario]) -> tuple[list[str], list[tuple[str, str]]]:
    """Fail one allocation after the other: the sites that were visited, and what did not recover."""
    sites: list[str] = []
    wrong: list[tuple[str, str]] = []
    for n in faults.steps(kind.each):
        scenario = kind(Client.open(device.node))
        try:
            before = scenario.accounting()
            hit, error = faults.fail(n, scenario.act)
            if hit is None:
                if error is not None:
                    raise AssertionError(f"without a fault: {name_of(error.errno)}")
                return sites, wrong
            sites.append(hit.site)
            wrong += [(hit.site, f"{hit.site} (n={n}): {what}") for what in judge(scenario, hit.site, error, before)]
        finally:
            scenario.close()
    raise AssertionError("the steps have no end")


def judge(scenario: Scenario, site: str, error: OSError | None, before: tuple[Usage, int]) -> Iterator[str]:
    """What is wrong after the allocation at ``site`` failed and the call ended with ``error``."""
    if error is not None:
        allowed = (*scenario.errors, errno.ENOSPC) if site.endswith(SHMEM) else scenario.errors
        if allowed and error.errno not in allowed:
            yield f"{name_of(error.errno)} instead of ENOMEM"
        now = scenario.accounting()
        if now != before:
            yield f"usage and pinned pages were {before}, are {now}"
    try:
        if error is not None:
            scenario.act()
        scenario.works()
    except OSError as again:
        yield f"then without a fault {name_of(again.errno)}"


@pytest.fixture
def enumerate_sites(device: Device, measure: Measure) -> Callable[..., None]:
    """Sweeps a scenario and asserts once, over all sites. ``spare``: see :class:`Faults`; ``only``: one place."""

    def run(kind: type[Scenario], spare: str = "", only: str = "") -> None:
        faults = Faults(spare, function(only))
        try:
            sites, wrong = sweep(faults, device, kind)
        finally:
            faults.close()
        distinct = sorted(set(sites))
        measure("allocations failed", len(sites), "")
        measure("call sites", len(distinct), "")
        assert distinct, "no allocation of the driver was failed"
        known = KNOWN.get(kind, ())
        left = [text for site, text in wrong if (place(site) == only if only in known else place(site) not in known)]
        listed = "\n".join([*left, "visited:", *distinct])
        assert not left, f"{len(left)} of {len(sites)} failed allocations did not recover:\n{listed}"

    return run


@pytest.mark.parametrize("kind", [Share, Command], ids=["share", "cmd"])
def test_o01_create_bo(enumerate_sites: Callable[..., None], kind: type[Scenario]) -> None:
    """O01: CREATE_BO without memory is ENOMEM and leaves nothing.

    Source: amdxdna_gem.c, amdxdna_drm_create_bo_ioctl().
    """
    enumerate_sites(kind)


def test_o01_create_dev_bo(enumerate_sites: Callable[..., None]) -> None:
    """O01: so is a DEV BO in a chunk that is there.  Source: amdxdna_gem.c, amdxdna_drm_create_dev_bo()."""
    enumerate_sites(Dev)


def test_o02_create_chunk(enumerate_sites: Callable[..., None]) -> None:
    """O02: a chunk that failed is not in the heap.  Source: amdxdna_gem.c, amdxdna_drm_create_dev_heap_bo()."""
    enumerate_sites(Chunk)


@pytest.mark.fw
def test_o04_create_hwctx(enumerate_sites: Callable[..., None], npu: Npu) -> None:
    """O04: CREATE_HWCTX without memory leaves nothing.

    The mailbox channel's own allocations are spared: its error path uses a pointer that is not set yet and takes the
    guest down.

    Source: amdxdna_ctx.c, amdxdna_drm_create_hwctx_ioctl(); amdxdna_mailbox.c, xdna_mailbox_alloc_channel().
    """
    enumerate_sites(Context, "xdna_mailbox_alloc_channel")


@pytest.mark.generations("npu4", "npu5", "npu6")
@pytest.mark.fw
def test_o05_expanding_dev_bo(enumerate_sites: Callable[..., None], npu: Npu) -> None:
    """O05: a DEV BO that expands the heap rolls back.  Source: aie2_ctx.c, aie2_hwctx_heap_expand()."""
    enumerate_sites(Expanding)


def test_o06_user_memory(enumerate_sites: Callable[..., None]) -> None:
    """O06: a BO over user memory unpins it.  Source: amdxdna_ubuf.c, amdxdna_get_ubuf()."""
    enumerate_sites(User)


def test_o07_export(enumerate_sites: Callable[..., None]) -> None:
    """O07: PRIME export without memory leaves nothing.  Source: amdxdna_gem.c, amdxdna_gem_prime_export()."""
    enumerate_sites(Export)


def test_o07_import(enumerate_sites: Callable[..., None]) -> None:
    """O07: nor does PRIME import.  Source: amdxdna_gem.c, amdxdna_gem_prime_import()."""
    enumerate_sites(Import)


def test_o08_mmap(enumerate_sites: Callable[..., None]) -> None:
    """O08: mmap without memory is ENOMEM, and works later.  Source: amdxdna_gem.c, amdxdna_gem_obj_mmap()."""
    enumerate_sites(Map)


@pytest.mark.parametrize("site", KNOWN[Chunk], ids=function)
def test_o02_known(enumerate_sites: Callable[..., None], site: str) -> None:
    """O02, one place: when no handle can be had, the chunk is in the heap already.

    Source: amdxdna_gem.c, amdxdna_drm_create_bo_ioctl().
    """
    enumerate_sites(Chunk, only=site)


@pytest.mark.parametrize("site", KNOWN[Context], ids=function)
@pytest.mark.fw
def test_o04_known(enumerate_sites: Callable[..., None], npu: Npu, site: str) -> None:
    """O04, one place: the error is not ENOMEM.  Source: aie2_solver.c; amdxdna_mailbox.c."""
    enumerate_sites(Context, "xdna_mailbox_alloc_channel", only=site)


@pytest.mark.fw
def test_o04_mailbox_channel(enumerate_sites: Callable[..., None], npu: Npu) -> None:
    """O04: no memory for a channel's work queue. 7.3 uses a pointer there that is not set, and the guest is lost.

    Source: amdxdna_mailbox.c, xdna_mailbox_alloc_channel().
    """
    enumerate_sites(Context, only="xdna_mailbox_alloc_channel")


@pytest.mark.modes("sva")  # elsewhere the chunk counts as mapped even so: amdxdna_hmm_register() leaves early
@pytest.mark.mode
def test_o03_map_chunk(enumerate_sites: Callable[..., None]) -> None:
    """O03: a chunk that could not be mapped does not count; at the same address it can be mapped again.

    Source: amdxdna_gem.c, amdxdna_gem_obj_mmap().
    """
    enumerate_sites(MapChunk)


@pytest.mark.fw
def test_l28_late_context(enumerate_sites: Callable[..., None], npu: Npu) -> None:
    """L28: CREATE_HWCTX that fails when the context is there already leaves no syncobj handle behind.

    255 contexts, of which the next has no number, are more than firmware gives (16): no memory does as well.
    Source: amdxdna_ctx.c, amdxdna_drm_create_hwctx_ioctl(); aie2_ctx.c, aie2_ctx_syncobj_destroy().
    """
    enumerate_sites(LateContext, "aie2_hwctx_init", only="amdxdna_drm_create_hwctx_ioctl")


@pytest.mark.parametrize(
    "stage",
    ["xdnam_mailbox_create", "xdna_mailbox_start_channel", "xdna_mailbox_send_msg", "aie2_error_async_events_alloc"],
)
@pytest.mark.fw
def test_o27_resume(enumerate_sites: Callable[..., None], npu: Npu, stage: str) -> None:
    """O27: a device that could not be woken for want of memory says so, and can be woken later.

    Without the allocation of the channel itself (test_o04_mailbox_channel), and that of a message which registers an
    event (below): there 7.3 breaks. Source: aie2_pci.c, aie2_hw_start().
    """
    enumerate_sites(Resume, "aie2_register_asyn_event_msg", only=stage)


@pytest.mark.fw
def test_o27_event_registration(enumerate_sites: Callable[..., None], npu: Npu) -> None:
    """O27: no memory for the message that registers one of the events: those before it are with firmware already.

    Source: aie2_error.c, aie2_error_async_events_alloc() frees them all; the end of the channel calls back for each.
    """
    enumerate_sites(Resume, only="aie2_register_asyn_event_msg")


@pytest.mark.modes("force-iova")
@pytest.mark.fw
@pytest.mark.mode
def test_o29_map_for_device(enumerate_sites: Callable[..., None], npu: Npu) -> None:
    """O29: a buffer that the IOMMU has no memory for is ENOMEM, not one with a hole.

    Source: amdxdna_iommu.c, amdxdna_dma_map_bo().
    """
    enumerate_sites(MapForDevice, only="amdxdna_dma_map_bo")
