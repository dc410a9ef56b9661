# SPDX-License-Identifier: GPL-2.0-only
"""Every allocation that the driver makes fails once: the call says ENOMEM, nothing stays behind, the next call works.

Each site is visited in a fresh file; what did not recover is listed by call site, all of a scenario at once. An
allocation may fail and the call succeed, when the kernel had another way; then the result must be whole.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

import pytest

from harness.drm import memory
from harness.drm.client import Client
from harness.drm.device import Device
from harness.drm.heap import CHUNK, MIB, Heap
from harness.drm.structs import BoType
from harness.guest.expect import name_of
from harness.guest.faults import Faults
from harness.guest.npu import Npu

pytestmark = pytest.mark.enumeration
Measure = Callable[[str, float, str], None]
SIZE = 64 << 10


class Scenario:
    """One call to fail. Each round: a new object on a new file, ``act`` while it fails, ``again`` without."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.heap = Heap(client)
        self.prepare()

    def prepare(self) -> None:
        """What must be there before the call."""

    def act(self) -> None:
        """The call. Raises OSError."""
        raise NotImplementedError

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
    """A chunk that is to follow the failed one must work as a heap: mapped, and a DEV BO in it."""

    def act(self) -> None:
        self.client.create_bo(BoType.DEV_HEAP, CHUNK)


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
        self.heap.create_dev(CHUNK)
        self.heap.add_chunk()

    def act(self) -> None:
        self.heap.create_dev(MIB)


class Export(Scenario):
    def prepare(self) -> None:
        self.handle = self.client.create_bo(BoType.SHARE, SIZE)

    def act(self) -> None:
        os.close(self.client.export(self.handle))


def sweep(faults: Faults, device: Device, kind: type[Scenario]) -> tuple[list[str], list[str]]:
    """Fail one allocation after the other: the sites that were visited, and what did not recover."""
    sites: list[str] = []
    wrong: list[str] = []
    for n in faults.steps():
        scenario = kind(Client.open(device.node))
        try:
            before = scenario.client.usage()
            hit, error = faults.fail(n, scenario.act)
            if hit is None:
                if error is not None:
                    raise AssertionError(f"without a fault: {name_of(error.errno)}")
                return sites, wrong
            sites.append(hit.site)
            wrong += [f"{hit.site} (n={n}): {what}" for what in judge(scenario, error, before)]
        finally:
            scenario.close()
    raise AssertionError("the steps have no end")


def judge(scenario: Scenario, error: OSError | None, before: object) -> Iterator[str]:
    """What is wrong after an allocation failed and the call ended with ``error``."""
    if error is not None:
        if error.errno != errno.ENOMEM:
            yield f"{name_of(error.errno)} instead of ENOMEM"
        now = scenario.client.usage()
        if now != before:
            yield f"usage was {before}, is {now}"
        try:
            scenario.act()
        except OSError as again:
            yield f"then without a fault {name_of(again.errno)}"
            return
    if isinstance(scenario, Chunk):
        yield from chunk_works(scenario)


def chunk_works(scenario: Scenario) -> Iterator[str]:
    """The heap grows once more and serves a DEV BO from where it begins."""
    try:
        scenario.heap.add_chunk()
    except OSError as error:
        yield f"next chunk: {name_of(error.errno)}"


@pytest.fixture
def enumerate_sites(device: Device, measure: Measure) -> Callable[..., None]:
    """Sweeps a scenario and asserts once, over all sites. ``spare``: see :class:`Faults`."""

    def run(kind: type[Scenario], spare: str = "") -> None:
        faults = Faults(spare)
        try:
            sites, wrong = sweep(faults, device, kind)
        finally:
            faults.close()
        distinct = sorted(set(sites))
        measure("allocations failed", len(sites), "")
        measure("call sites", len(distinct), "")
        assert distinct, "no allocation of the driver was failed"
        listed = "\n".join([*wrong, "visited:", *distinct])
        assert not wrong, f"{len(wrong)} of {len(sites)} failed allocations did not recover:\n{listed}"

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


def test_o04_create_hwctx(enumerate_sites: Callable[..., None], npu: Npu) -> None:
    """O04: CREATE_HWCTX without memory leaves nothing.

    The mailbox channel's own allocations are spared: its error path uses a pointer that is not set yet and takes the
    guest down.

    Source: amdxdna_ctx.c, amdxdna_drm_create_hwctx_ioctl(); amdxdna_mailbox.c, xdna_mailbox_alloc_channel().
    """
    enumerate_sites(Context, "xdna_mailbox_alloc_channel")


@pytest.mark.generations("npu4", "npu5", "npu6")
def test_o05_expanding_dev_bo(enumerate_sites: Callable[..., None], npu: Npu) -> None:
    """O05: a DEV BO that expands the heap rolls back.  Source: aie2_ctx.c, aie2_hwctx_heap_expand()."""
    enumerate_sites(Expanding)


def test_o06_user_memory(enumerate_sites: Callable[..., None]) -> None:
    """O06: a BO over user memory unpins it.  Source: amdxdna_ubuf.c, amdxdna_get_ubuf()."""
    enumerate_sites(User)


def test_o07_export(enumerate_sites: Callable[..., None]) -> None:
    """O07: PRIME export without memory leaves nothing.  Source: amdxdna_gem.c, amdxdna_gem_prime_export()."""
    enumerate_sites(Export)
