# SPDX-License-Identifier: GPL-2.0-only
"""Every allocation that the driver makes fails once: the call says ENOMEM, nothing stays behind, the next call works.

Each site is visited in a fresh file; what did not recover is listed by call site, all of a scenario at once. An
allocation may fail and the call succeed, when the kernel had another way; then the result must be whole.
"""

from __future__ import annotations

import errno
import itertools
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from harness.drm import command, memory
from harness.drm.client import Client
from harness.drm.command import State
from harness.drm.device import Device
from harness.drm.heap import CHUNK, Heap
from harness.drm.memory import Mapping
from harness.drm.structs import INVALID, BoType
from harness.guest.expect import eventually, name_of, refused
from harness.guest.faults import Faults, Hit, place
from harness.guest.npu import Npu
from harness.guest.program import Program
from harness.guest.scenario import (
    Configuring,
    Context,
    Expanding,
    Resuming,
    ResumingAgain,
    Scenario,
    Starting,
    Submitting,
)
from harness.guest.variant import Variant
from harness.guest.worker import Worker

pytestmark = pytest.mark.enumeration
Measure = Callable[[str, float, str], None]
SIZE = 64 << 10
TABLE = 2 << 20
"""What one page of page tables maps."""
FIRMWARE_BUFFERS = 4
"""A context has so many, which its commands take in turn (aie2_pci.h, HWCTX_MAX_CMDS)."""


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


class Mapped(Scenario):
    """A buffer that the IOMMU maps as it is created; the NPU must reach all of it.

    The IOMMU keeps its tables, of 2 MiB each, for the next buffer: every round's is larger, so that some are missing.
    """

    sizes = itertools.chain((4 << 20, 8 << 20, 16 << 20), itertools.repeat(32 << 20))

    def prepare(self) -> None:
        self.size = next(self.sizes)
        self.heap.add_chunk()
        self.worker = Worker(self.heap)

    def act(self) -> None:
        self.handle = self.client.create_bo(BoType.SHARE, self.size)

    def works(self) -> None:
        content = bytes(range(256)) * (self.size // 256)
        self.client.map_bo(self.handle, self.size).write(0, content)
        source, target = self.client.bo_info(self.handle).xdna_addr, self.worker.result_address
        self.worker.run(Program().crc32(source, target, self.size), [self.handle])
        if self.worker.result.read(0, 4) != zlib.crc32(content).to_bytes(4, "little"):
            raise OSError(errno.EFAULT, "the NPU does not see the buffer")


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
    """Where there are no page tables yet. A page that cannot be mapped then is mapped when it is touched."""

    def prepare(self) -> None:
        super().prepare()
        self.address = memory.reserve(TABLE, TABLE)

    def act(self) -> None:
        self.client.map_bo(self.handle, SIZE, address=self.address)

    def works(self) -> None:
        Mapping(self.address, SIZE).write(SIZE - 6, b"mapped")

    def close(self) -> None:
        super().close()
        memory.munmap(self.address, TABLE)


class MapExported(Export):
    """By its dma-buf, where there are no page tables yet."""

    def prepare(self) -> None:
        super().prepare()
        self.fd = self.client.export(self.handle)
        self.address = memory.reserve(TABLE, TABLE)

    def act(self) -> None:
        memory.mmap(self.address, SIZE, memory.PROT_RW, memory.MAP_SHARED | memory.MAP_FIXED, self.fd)

    def works(self) -> None:
        Mapping(self.address, SIZE).write(0, b"mapped")

    def close(self) -> None:
        memory.munmap(self.address, TABLE)
        os.close(self.fd)
        super().close()


class Sync(Export):
    """Its pages are allocated, and the kernel's address of it. Without that it is flushed page by page."""

    def act(self) -> None:
        self.client.sync_bo(self.handle, 0, SIZE)


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

    def accounting(self) -> tuple[int, ...]:
        lowest = self.client.create_syncobj()
        self.client.destroy_syncobj(lowest)
        return *super().accounting(), lowest


KNOWN: dict[type[Scenario], tuple[str, ...]] = {
    Chunk: ("amdxdna_drm_create_bo_ioctl > drm_gem_handle_create",),
    Context: (
        "xrs_allocate_resource > __kmalloc_cache_noprof",
        "xdna_mailbox_start_channel > request_threaded_irq",
    ),
    Resuming: ("xdna_mailbox_start_channel > request_threaded_irq",),
}
"""Places that do not recover in 7.3: asked by a test each, which jobs/known.toml names, so that they hide no other."""
CHANNEL = "xdna_mailbox_alloc_channel"
"""Without memory for its work queue it takes the guest down: spared, and asked by a test of its own."""
STEPS = {"xdna_send_msg_wait": "", "aie2_error_async_events_alloc": "aie2_register_asyn_event_msg"}
"""The steps of firmware's start, and what is spared in each."""
KNOWN_STEPS = ("xdnam_mailbox_create", "xdna_mailbox_start_channel")
"""Steps whose every allocation 7.3 reports as another error."""
SHMEM = "drm_gem_shmem_create"
"""Says ENOSPC when there is no memory for the inode: mm/shmem.c, __shmem_file_setup(); not the driver's choice."""


def function(site: str) -> str:
    """The driver's function in a place."""
    return site.partition(" > ")[0]


def sweep(faults: Faults, device: Device, kind: type[Scenario]) -> tuple[list[str], list[tuple[str, str]]]:
    """Fail one allocation after the other: the sites that were visited, and what did not recover. It ends early when
    the call does not work any more."""
    sites: list[str] = []
    wrong: list[tuple[str, str]] = []
    for n in faults.steps(kind.each):
        try:
            hit, found = visit(faults, device, kind, n)
        except OSError as error:
            if not sites:
                raise
            wrong.append((sites[-1], f"{sites[-1]}: then on a new file {name_of(error.errno)}"))
            return sites, wrong
        if hit is None:
            return sites, wrong
        sites.append(hit.site)
        wrong += [(hit.site, f"{hit.site} (n={n}): {what}") for what in found]
    raise AssertionError("the steps have no end")


def visit(faults: Faults, device: Device, kind: type[Scenario], n: int) -> tuple[Hit | None, list[str]]:
    """Fail the ``n``-th allocation: which it was (None: there are fewer), and what is wrong after it. Raises OSError
    when the call fails without it."""
    scenario = kind(device)
    try:
        before = scenario.accounting()
        hit, error = faults.fail(n, scenario.act)
        if hit is not None:
            return hit, list(judge(scenario, hit.site, error, before))
        if error is not None:
            raise error
        return None, []
    finally:
        scenario.close()


def judge(scenario: Scenario, site: str, error: OSError | None, before: tuple[int, ...]) -> Iterator[str]:
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
            if not scenario.retried:
                return
            scenario.act()
        scenario.works()
    except OSError as again:
        yield f"then without a fault {name_of(again.errno)}"


@pytest.fixture
def enumerate_sites(device: Device, measure: Measure) -> Callable[..., None]:
    """Sweeps a scenario and asserts once, over all sites. ``spare`` and ``only``: see :class:`Faults`; ``known``:
    the place that alone is asked about."""

    def run(kind: type[Scenario], spare: str = "", only: str = "", known: str = "") -> None:
        faults = Faults(spare, only or function(known))
        try:
            sites, wrong = sweep(faults, device, kind)
        finally:
            faults.close()
        distinct = sorted(set(sites))
        measure("allocations failed", len(sites), "")
        measure("call sites", len(distinct), "")
        others = KNOWN.get(kind, ())
        left = {text: site for site, text in wrong if (place(site) == known if known else place(site) not in others)}
        measure("not recovered", len(set(left.values())), "")
        assert distinct, "no allocation of the driver was failed"
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


def test_o02_create_chunk(enumerate_sites: Callable[..., None], variant: Variant) -> None:
    """O02: a chunk that failed is not in the heap.

    With force_iova its pages are allocated and mapped here, tens of thousands: O01 and O29 fail those.

    Source: amdxdna_gem.c, amdxdna_drm_create_dev_heap_bo().
    """
    enumerate_sites(Chunk, "amdxdna_dma_map_bo" if variant.address_mode == "force-iova" else "")


@pytest.mark.fw
def test_o04_create_hwctx(enumerate_sites: Callable[..., None], npu: Npu) -> None:
    """O04: CREATE_HWCTX without memory leaves nothing.

    The mailbox channel's own allocations are spared: its error path uses a pointer that is not set yet and takes the
    guest down.

    Source: amdxdna_ctx.c, amdxdna_drm_create_hwctx_ioctl(); amdxdna_mailbox.c, xdna_mailbox_alloc_channel().
    """
    enumerate_sites(Context, CHANNEL)


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


def test_o07_mmap(enumerate_sites: Callable[..., None]) -> None:
    """O07: so does mapping a dma-buf.  Source: amdxdna_gem.c, amdxdna_gem_dmabuf_mmap()."""
    enumerate_sites(MapExported)


def test_o08_sync(enumerate_sites: Callable[..., None]) -> None:
    """O08: SYNC_BO without memory for the pages is ENOMEM, and keeps none.

    Source: amdxdna_gem.c, amdxdna_drm_sync_bo_ioctl(), amdxdna_flush_bo().
    """
    enumerate_sites(Sync)


def test_o08_mmap(enumerate_sites: Callable[..., None]) -> None:
    """O08: mmap without memory is ENOMEM, and works later.  Source: amdxdna_gem.c, amdxdna_gem_obj_mmap()."""
    enumerate_sites(Map)


@pytest.mark.fw
def test_o25_config_cu(enumerate_sites: Callable[..., None], npu: Npu) -> None:
    """O25: CONFIG_CU without memory leaves the context as it was.  Source: aie2_ctx.c, aie2_hwctx_cu_config()."""
    enumerate_sites(Configuring)


@pytest.mark.fw
def test_o25_exec_cmd(enumerate_sites: Callable[..., None], npu: Npu) -> None:
    """O25: EXEC_CMD without memory queues nothing.  Source: amdxdna_ctx.c, amdxdna_cmd_submit()."""
    enumerate_sites(Submitting)


@pytest.mark.parametrize(("only", "spare"), STEPS.items(), ids=STEPS)
@pytest.mark.fw
def test_o27_start(enumerate_sites: Callable[..., None], npu: Npu, only: str, spare: str) -> None:
    """O27: a step of firmware's start fails without memory, and is done later.  Source: aie2_pci.c, aie2_hw_start()."""
    enumerate_sites(Starting, spare, only)


@pytest.mark.fw
def test_o27_steps(device: Device, npu: Npu) -> None:
    """O27: these steps, and a mailbox channel (O04), are all that allocates memory when firmware starts.

    Source: aie2_pci.c, aie2_hw_start().
    """

    def allocations(only: str = "") -> int:
        faults = Faults(only=only)
        scenario = Starting(device)
        try:
            return faults.count(scenario.act)
        finally:
            faults.close()
            scenario.close()

    assert allocations() == sum(map(allocations, (*STEPS, *KNOWN_STEPS, CHANNEL)))


@pytest.mark.generations("npu4", "npu5", "npu6")
@pytest.mark.fw
def test_o27_resume(enumerate_sites: Callable[..., None], npu: Npu) -> None:
    """O27: nor can a context be set up again.  Source: aie2_ctx.c, aie2_hwctx_restart()."""
    enumerate_sites(Resuming, CHANNEL, only="aie2_hwctx_restart")


@pytest.mark.modes("force-iova")
@pytest.mark.fw
@pytest.mark.mode
def test_o29_iommu_map(enumerate_sites: Callable[..., None], npu: Npu) -> None:
    """O29: without memory for the IOMMU's tables there is no buffer, not one with a hole.

    Source: amdxdna_iommu.c, amdxdna_dma_map_bo(); drivers/iommu/iommu.c, iommu_map_sg().
    """
    enumerate_sites(Mapped, only="iommu_map_sg")


@pytest.mark.parametrize("site", KNOWN[Chunk], ids=function)
def test_o02_known(enumerate_sites: Callable[..., None], site: str) -> None:
    """O02, one place: when no handle can be had, the chunk is in the heap already.

    Source: amdxdna_gem.c, amdxdna_drm_create_bo_ioctl().
    """
    enumerate_sites(Chunk, known=site)


@pytest.mark.parametrize("site", KNOWN[Context], ids=function)
@pytest.mark.fw
def test_o04_known(enumerate_sites: Callable[..., None], npu: Npu, site: str) -> None:
    """O04, one place: the error is not ENOMEM.  Source: aie2_solver.c; amdxdna_mailbox.c."""
    enumerate_sites(Context, CHANNEL, known=site)


@pytest.mark.parametrize("step", KNOWN_STEPS)
@pytest.mark.fw
def test_o27_known(enumerate_sites: Callable[..., None], npu: Npu, step: str) -> None:
    """O27, one step: the error is not ENOMEM.  Source: aie2_pci.c, aie2_hw_start()."""
    enumerate_sites(Starting, only=step)


@pytest.mark.fw
def test_o27_async_event(enumerate_sites: Callable[..., None], npu: Npu) -> None:
    """O27: no memory for a later one of the messages that ask for asynchronous errors. 7.3 frees what the earlier ones
    point to.

    Source: aie2_error.c, aie2_error_async_events_alloc().
    """
    enumerate_sites(Starting, only="aie2_register_asyn_event_msg")


@pytest.mark.fw
def test_o04_mailbox_channel(enumerate_sites: Callable[..., None], npu: Npu) -> None:
    """O04: no memory for a channel's work queue. 7.3 uses a pointer there that is not set, and the guest is lost.

    Source: amdxdna_mailbox.c, xdna_mailbox_alloc_channel().
    """
    enumerate_sites(Context, only=CHANNEL)


@pytest.mark.parametrize("how", ["alone", "in a chain"])
@pytest.mark.fw
def test_l18_command_without_kernel_address(heap: Heap, npu: Npu, how: str) -> None:
    """L18: a command that the kernel has no memory to look into is not run, and runs when there is memory.

    The buffers that firmware reads, and the chain, have their addresses by then. Source: amdxdna_ctx.c,
    amdxdna_cmd_get_payload(); aie2_message.c, aie2_cmdlist_fill_slot().
    """
    heap.add_chunk()
    worker = Worker(heap)
    client = heap.client
    for _ in range(FIRMWARE_BUFFERS):
        worker.run(Program())
    program = bytes(Program().store(worker.result_address, 18))
    code = heap.create_dev(4096)
    heap.view(code, 4096).write(0, program)
    start = command.start_npu(client.bo_info(code).xdna_addr, len(program), ())
    handles = [client.create_bo(BoType.CMD, 4096) for _ in range(3)]
    seen, new, chain = (client.map_bo(handle, 4096) for handle in handles)

    def run(handle: int, text: Mapping) -> State:
        with suppress(OSError):
            client.wait(worker.context, client.exec_cmd(worker.context, handle, [code]))
        return command.state(text.read(0, 4))

    seen.write(0, start)
    new.write(0, start)
    chain.write(0, command.chain(handles[:1]))
    assert run(handles[2], chain) is State.COMPLETED
    chain.write(0, command.chain(handles[1:2]))
    handle, text = (handles[1], new) if how == "alone" else (handles[2], chain)
    faults = Faults(only="amdxdna_gem_vmap")
    try:
        with faults.always():
            assert run(handle, text) in (State.NEW, State.ERROR, State.ABORT)
    finally:
        faults.close()
    assert run(handle, text) is State.COMPLETED
    assert worker.result.read(0, 8) == (18).to_bytes(8, "little")


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


@pytest.mark.spoils
@pytest.mark.generations("npu4", "npu5", "npu6")
@pytest.mark.fw
def test_o27_resume_again(enumerate_sites: Callable[..., None], npu: Npu, device: Device) -> None:
    """O27: the second resume of the same context. 7.3 creates it once more and loses its interrupt for good: no context
    works in this guest any more, so this is the last test.

    Source: aie2_ctx.c, aie2_hwctx_restart().
    """
    try:
        enumerate_sites(ResumingAgain, CHANNEL, only="aie2_hwctx_restart")
    finally:
        device.suspend()
