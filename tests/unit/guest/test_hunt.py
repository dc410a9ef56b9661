# SPDX-License-Identifier: GPL-2.0-only
"""Walks on a device of a few lines: any part of a script is one, and what cannot be true is seen."""

from __future__ import annotations

import errno
import itertools
import os
import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from harness.drm import memory
from harness.drm.client import BoInfo, Client, Hwctx, Usage
from harness.drm.heap import CHUNK, DEV_ALIGNMENT, DEVICE_BASE, MAX_HEAP
from harness.drm.memory import Mapping as Mapped
from harness.drm.structs import BoType
from harness.guest.hunt import oracle
from harness.guest.hunt.oracle import Broken
from harness.guest.hunt.walk import Walk, read
from harness.guest.hunt.world import World
from harness.model.script import Script, step, write
from harness.model.walk import walk


class FakeClient(Client):
    """Accepts what a driver would: handles count up, DEV BOs lie in the heap one behind the other."""

    def __init__(self) -> None:
        super().__init__(os.open(os.devnull, os.O_RDONLY))
        self.numbers = itertools.count(1)
        self.sizes: dict[int, tuple[int, int]] = {}
        self.places: dict[int, int] = {}
        self.top = DEVICE_BASE
        self.heap_address = 0
        self.backed = 0
        self.offsets: dict[int, int] = {}
        self.skew = 0

    def create_bo(self, kind: int, size: int, *, vaddr: int = 0, flags: int = 0) -> int:
        if kind == BoType.DEV and (not self.heap_address or self.top + size > DEVICE_BASE + self.backed):
            raise OSError(errno.ENOSPC if self.backed >= MAX_HEAP else errno.EAGAIN, "heap")
        if kind == BoType.DEV_HEAP and size % CHUNK:
            raise OSError(errno.EINVAL, "chunk")
        handle = next(self.numbers)
        if kind == BoType.DEV_HEAP:
            self.offsets[handle] = self.backed
            self.backed += size
        self.sizes[handle] = kind, size
        if kind == BoType.DEV:
            self.places[handle] = self.top + self.skew
            self.top += -(-size // DEV_ALIGNMENT) * DEV_ALIGNMENT
        return handle

    def bo_info(self, handle: int) -> BoInfo:
        self._check(handle)
        address = self.places.get(handle, 0)
        return BoInfo(0, self.heap_address + address - DEVICE_BASE, address)

    def map_bo(self, handle: int, size: int, *, address: int = 0, flags: int = memory.MAP_SHARED) -> Mapped:
        self._check(handle)
        kinds = memory.MAP_PRIVATE | memory.MAP_ANONYMOUS | memory.MAP_NORESERVE
        start = memory.mmap(address, size, memory.PROT_RW, kinds | (memory.MAP_FIXED if address else 0))
        if address:
            self.heap_address = address - self.offsets.get(handle, 0)
        mapping = Mapped(start, size)
        self._mappings.append(mapping)
        return mapping

    def close_bo(self, handle: int) -> None:
        self._check(handle)
        del self.sizes[handle]

    def sync_bo(self, handle: int, offset: int, size: int, direction: int = 0) -> None:
        self._check(handle)

    def export(self, handle: int) -> int:
        self._check(handle)
        return os.open(os.devnull, os.O_RDONLY)

    def import_fd(self, fd: int) -> int:
        os.fstat(fd)
        return self.create_bo(BoType.SHARE, 4096)

    def flink(self, handle: int) -> int:
        self._check(handle)
        return handle

    def open_name(self, name: int) -> int:
        return self.create_bo(BoType.SHARE, 4096)

    def create_hwctx(self, columns: int = 1, *, priority: int = 0, fps: int = 0) -> Hwctx:
        if not columns:
            raise OSError(errno.EINVAL, "columns")
        return Hwctx(next(self.numbers), 1)

    def destroy_hwctx(self, hwctx: Hwctx) -> None: ...

    def config_cu(self, hwctx: Hwctx, cus: object) -> None: ...

    def exec_cmd(self, hwctx: Hwctx, command: int, arguments: object = ()) -> int:
        self._check(command)
        return 0

    def wait(self, hwctx: Hwctx, seq: int, timeout: float = 10.0) -> None: ...

    def attach_debug_bo(self, hwctx: Hwctx, handle: int) -> None: ...

    def detach_debug_bo(self, hwctx: Hwctx, handle: int) -> None:
        raise OSError(errno.EINVAL, "not attached")

    def get_info(self, what: object, size: int, question: bytes = b"") -> bytes:
        return bytes(size)

    def get_array(self, what: object, element: bytes, count: int = 1) -> list[bytes]:
        return [element]

    def column_status(self, size: int) -> bytes:
        return bytes(size)

    def usage(self, pid: int = 0) -> Usage:
        return Usage(0, 0, 0)

    def fdinfo_bytes(self, name: str) -> int:
        kinds = {
            "heap-alloc": (BoType.DEV,),
            "internal-alloc": (BoType.DEV_HEAP, BoType.CMD),
            "external-alloc": (BoType.SHARE,),
        }[name]
        return sum(size for kind, size in self.sizes.values() if kind in kinds)

    def _check(self, handle: int) -> None:
        if handle not in self.sizes:
            raise OSError(errno.ENOENT, "no such handle")


class FakeDevice:
    awake = True

    def power(self, name: str) -> str:
        return "active" if self.awake else "suspended"

    def suspend(self, timeout: float = 15.0) -> None:
        self.awake = False


class FakeNpu:
    def script(self, *rules: Mapping[str, Any]) -> None:
        from harness.npu.script import parse_rule

        for rule in rules:
            parse_rule(dict(rule))

    def reset(self) -> None: ...


class FakeFaults:
    """Every fourth call fails."""

    def __init__(self) -> None:
        self.calls = 0

    def fail(self, n: int, act: Callable[[], None]) -> tuple[object, OSError | None]:
        self.calls += 1
        if self.calls % 4 == 0:
            return None, OSError(errno.ENOMEM, "failed")
        try:
            act()
        except OSError as error:
            return None, error
        return None, None


Do = Callable[[Script], Walk]


@pytest.fixture
def clients() -> list[FakeClient]:
    return []


@pytest.fixture
def do(clients: list[FakeClient]) -> Do:
    def run(script: Script) -> Walk:
        def open_client() -> Client:
            clients.append(FakeClient())
            return clients[-1]

        world = World(open_client, FakeDevice(), FakeNpu())
        done = Walk(world, FakeFaults, lambda text: None)
        try:
            done.go(read(write(script)))
            done.empty()
        finally:
            world.close()
        return done

    return run


def without_processes(script: Script) -> Script:
    """Forking in the test's own process has a test of its own."""
    return tuple(one for one in script if one.do not in ("fork", "victim"))


def test_any_part_of_a_walk_is_a_script(do: Do) -> None:
    reached: set[str] = set()
    for seed in range(60):
        chance = random.Random(seed)
        whole = without_processes(walk(seed))
        reached |= do(whole).tally.keys()
        for _ in range(3):
            part = tuple(one for one in whole if chance.random() < 0.6)
            reached |= do(part).tally.keys()
    assert {"bo ok", "bo EAGAIN", "bo idle", "chunk ok", "map ok", "detach EINVAL", "sleep ok", "run EIO"} <= reached
    assert "open ENOMEM" in reached, "nothing failed"


def test_processes_end(do: Do) -> None:
    opened = (step("open", file=0), step("chunk", file=0, slot=0, units=1), step("map", file=0, slot=0))
    children = [step("fork", file=0, what=what) for what in ("exit", "read", "use")]
    done = do((*opened, *children, step("victim", units=1, context=0, hang=0)))
    assert done.tally["fork ok"] == 3
    assert done.tally["victim ok"] == 1


def test_steps_at_the_same_time(do: Do) -> None:
    twins = [step("bo", file=0, slot=slot, kind="share", kib=4, beside=1) for slot in range(6)]
    done = do((step("open", file=0), *twins))
    assert done.tally["bo ok"] == 6


def test_a_step_that_nobody_knows() -> None:
    with pytest.raises(ValueError, match="no step"):
        read('{"do": "dance"}')


def beginning() -> Script:
    chunks = [(step("chunk", file=0, slot=n, units=3), step("map", file=0, slot=n)) for n in range(2)]
    rest = (step("chunk", file=0, slot=2, units=2), step("map", file=0, slot=2))
    return (step("open", file=0), *itertools.chain(*chunks), *rest)


DEV = step("bo", file=0, slot=5, kind="dev", kib=4)


def broken_by(do: Do, script: Script, monkeypatch: pytest.MonkeyPatch, **changed: object) -> str:
    for name, value in changed.items():
        monkeypatch.setattr(FakeClient, name, value)
    with pytest.raises(Broken) as seen:
        do(script)
    return seen.value.name


def test_a_full_heap_never_asks_for_more(do: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    create = FakeClient.create_bo

    def always_again(self: FakeClient, kind: int, size: int, **more: int) -> int:
        if kind == BoType.DEV:
            raise OSError(errno.EAGAIN, "again")
        return create(self, kind, size, **more)

    unmapped = (*beginning(), step("unmap", file=0, slot=1), DEV)
    monkeypatch.setattr(FakeClient, "create_bo", always_again)
    assert do(unmapped).tally["bo EAGAIN"] == 1
    assert broken_by(do, (*beginning(), DEV), monkeypatch) == "eagain"


def test_dev_bos_lie_where_they_may(do: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    info = FakeClient.bo_info

    def at(address: int) -> Callable[[FakeClient, int], BoInfo]:
        return lambda self, handle: BoInfo(0, info(self, handle).vaddr, address)

    script = (*beginning(), DEV, step("bo", file=0, slot=4, kind="dev", kib=32))
    assert broken_by(do, script, monkeypatch, bo_info=at(DEVICE_BASE + 4096)) == "alignment"
    assert broken_by(do, script, monkeypatch, bo_info=at(DEVICE_BASE + MAX_HEAP)) == "range"
    assert broken_by(do, script, monkeypatch, bo_info=at(DEVICE_BASE)) == "overlap"


def test_accounts(do: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracle, "FREED_SECONDS", 0.05)
    used = (*beginning(), DEV, step("usage", file=0))
    assert do(used).tally["usage ok"] == 1
    assert broken_by(do, used, monkeypatch, fdinfo_bytes=lambda self, name: 0) == "accounts"
    assert broken_by(do, used, monkeypatch, fdinfo_bytes=lambda self, name: 2**64 - 4096) == "accounts"
    assert broken_by(do, used[:-1], monkeypatch, fdinfo_bytes=lambda self, name: 4096) == "usage"


def test_a_step_that_takes_long(do: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracle, "SLOW_SECONDS", -1.0)
    assert broken_by(do, (step("open", file=0),), monkeypatch) == "slow"


def test_firmware_that_has_to_set_contexts_up_again_is_well(do: Do) -> None:
    refuse = step("firmware", way="refused", opcode="MAP_HOST_BUFFER", skip=0)
    assert do((*beginning(), step("sleep"), refuse)).tally["firmware ok"] == 1
    context = step("context", file=0, context=0, columns=1)
    assert do((*beginning(), context, step("sleep"), refuse)).tally["firmware idle"] == 1


@pytest.mark.parametrize("keep", [0, 1])
def test_nothing_sleeps_while_a_context_has_a_chunk_that_is_not_mapped(do: Do, keep: int) -> None:
    lost = (step("context", file=0, context=0, columns=1), step("unmap", file=0, slot=0))
    tally = do((*beginning(), *lost, step("close", file=0, keep=keep), step("sleep"))).tally
    assert tally["sleep idle"] == keep, "a file that is closed lives on while something of it is mapped"
    assert tally["sleep ok"] == 1 - keep


def test_a_device_that_stays_awake_is_no_slow_step(do: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    def stay(self: FakeDevice, timeout: float = 15.0) -> None:
        waited.append(timeout)
        raise TimeoutError("awake")

    monkeypatch.setattr(FakeDevice, "suspend", stay)
    assert do((step("sleep"),)).tally["sleep ETIMEDOUT"] == 1
    assert waited[0] < oracle.SLOW_SECONDS / 1.5
