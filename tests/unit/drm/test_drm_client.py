# SPDX-License-Identifier: GPL-2.0-only
"""What the client writes into the structures, and reads from them: against a kernel of a few lines."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.drm import ioctl, memory
from harness.drm.client import BoInfo, Client, Hwctx, Usage
from harness.drm.heap import CHUNK, MAX_HEAP, Heap
from harness.drm.structs import Array, BoType, Info

Answer = Callable[..., None]


class Kernel:
    """Answers ioctls by request code; an answer changes the structure or raises."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: dict[int, Answer] = {}
        self.seen: list[int] = []
        monkeypatch.setattr(ioctl, "call", self.call)

    def call(self, fd: int, request: int, argument: ctypes.Structure) -> int:
        self.seen.append(request)
        if request in self.answers:
            self.answers[request](argument)
        return 0


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client(os.memfd_create("device"))
    os.ftruncate(client.fd, MAX_HEAP)
    yield client
    client.close()


def test_create_and_query(kernel: Kernel, client: Client) -> None:
    def create(bo: ctypes.Structure) -> None:
        assert (bo.type, bo.size, bo.vaddr, bo.flags) == (2, CHUNK, 0, 0)
        bo.handle = 7

    def info(bo: ctypes.Structure) -> None:
        assert bo.handle == 7
        bo.map_offset, bo.vaddr, bo.xdna_addr = 1, 2, 3

    kernel.answers = {ioctl.CREATE_BO: create, ioctl.GET_BO_INFO: info}
    assert client.create_bo(BoType.DEV_HEAP, CHUNK) == 7
    assert client.bo_info(7) == BoInfo(1, 2, 3)


def test_user_memory_table(kernel: Kernel, client: Client) -> None:
    def create(bo: ctypes.Structure) -> None:
        table = struct.unpack("<iIQQQQ", ctypes.string_at(bo.vaddr, 40))
        assert table == (-1, 2, 0x1000, 4096, 0x5000, 8192)
        assert (bo.type, bo.size) == (1, 12288)
        bo.handle = 1

    kernel.answers = {ioctl.CREATE_BO: create}
    assert client.create_user_bo([(0x1000, 4096), (0x5000, 8192)]) == 1
    assert kernel.seen == [ioctl.CREATE_BO]


def test_close_unmaps_first(kernel: Kernel, client: Client) -> None:
    mapping = client.map_bo(1, 8192)
    mapping.write(8000, b"mapped")
    client.close()
    assert client.fd == -1
    assert f"{mapping.address:x}-" not in Path("/proc/self/maps").read_text()
    client.close()  # a second time does nothing


def test_context_and_command(kernel: Kernel, client: Client) -> None:
    def create(context: ctypes.Structure) -> None:
        qos = struct.unpack("<6I", ctypes.string_at(context.qos_p, 24))
        assert qos == (100, 0, 0, 0, 0, 0x200)
        assert context.num_tiles == 8
        context.handle, context.syncobj_handle = 3, 9

    def execute(command: ctypes.Structure) -> None:
        assert (command.hwctx, command.cmd_handles, command.cmd_count, command.arg_count) == (3, 5, 1, 2)
        assert struct.unpack("<2I", ctypes.string_at(command.args, 8)) == (11, 12)
        command.seq = 42

    def config(request: ctypes.Structure) -> None:
        data = ctypes.string_at(request.param_val, request.param_val_size)
        assert data == struct.pack("<H6xIB3xIB3x", 2, 21, 1, 22, 0)

    kernel.answers = {ioctl.CREATE_HWCTX: create, ioctl.EXEC_CMD: execute, ioctl.CONFIG_HWCTX: config}
    context = client.create_hwctx(columns=2)
    assert context == Hwctx(3, 9)
    client.config_cu(context, [(21, 1), (22, 0)])
    assert client.exec_cmd(context, 5, [11, 12]) == 42
    client.destroy_hwctx(context)
    assert kernel.seen[-2:] == [ioctl.DESTROY_HWCTX, ioctl.SYNCOBJ_DESTROY]


def test_queries(kernel: Kernel, client: Client) -> None:
    def array(request: ctypes.Structure) -> None:
        assert (request.param, request.element_size, request.num_element) == (Array.BO_USAGE, 32, 1)
        assert struct.unpack("<q", ctypes.string_at(request.buffer, 8)) == (os.getpid(),)
        ctypes.memmove(request.buffer + 8, struct.pack("<QQQ", 1, 2, 3), 24)

    def info(request: ctypes.Structure) -> None:
        assert (request.param, request.buffer_size) == (Info.RESOURCE_INFO, 40)
        ctypes.memmove(request.buffer, struct.pack("<5Q", 0, 0, 16, 0, 4), 40)

    kernel.answers = {ioctl.GET_ARRAY: array, ioctl.GET_INFO: info}
    assert client.usage() == Usage(1, 2, 3)
    assert client.contexts_alive() == 4


class ChunkedHeap:
    """The driver's part in growing a heap: EAGAIN until enough chunks are there."""

    def __init__(self) -> None:
        self.size = 0

    def create(self, bo: ctypes.Structure) -> None:
        if bo.type == BoType.DEV_HEAP:
            self.size += bo.size
        elif bo.size > self.size:
            raise OSError(errno.EAGAIN, "more heap")
        bo.handle = 1

    def info(self, bo: ctypes.Structure) -> None:
        bo.map_offset = self.size - CHUNK


def test_heap_grows_at_consecutive_addresses(kernel: Kernel, client: Client) -> None:
    driver = ChunkedHeap()
    kernel.answers = {ioctl.CREATE_BO: driver.create, ioctl.GET_BO_INFO: driver.info}
    heap = Heap(client)
    assert heap.base % CHUNK == 0
    heap.allocate(3 * CHUNK)
    assert [chunk.offset for chunk in heap.chunks] == [0, CHUNK, 2 * CHUNK]
    addresses = [chunk.mapping.address for chunk in heap.chunks if chunk.mapping]
    assert addresses == [heap.base, heap.base + CHUNK, heap.base + 2 * CHUNK]
    heap.unmap_chunk(heap.chunks[1])
    again = memory.try_mmap(addresses[1], memory.PAGE, memory.PROT_RW, memory.MAP_SHARED, client.fd, 0)
    assert again != addresses[1], "the place of an unmapped chunk must stay reserved"
    memory.munmap(again, memory.PAGE)
    client.close()
    heap.release()
