# SPDX-License-Identifier: GPL-2.0-only
"""The NPU's process, and a driver for it that does as amdxdna does, without a virtual machine."""

from __future__ import annotations

import json
import mmap
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from harness.npu.codes import Opcode
from harness.npu.generations import GENERATIONS, HEAP_CHUNK, MAGIC, MIB, Generation, Register
from harness.npu.mailbox import TOMBSTONE
from harness.vfio_user.client import Client
from harness.vfio_user.device import Irq

RAM = 512 * MIB
TABLE, GCR3, ROOT = 0x10000, 0x11000, 0x12000
PASID, USER, BDF = 1, 0x7E0000000000, 0x28
CHUNK_PHYSICAL = 0x4000000
"""Physical addresses of chunk n: here + n * 64 MiB; in the page tables they are 2 MiB pages."""
SHARED, SHARED_PHYSICAL = 0x7F0000000000, 0x200000
"""One large page that is no part of the heap."""


class Ring:
    """The driver's end of a channel (amdxdna_mailbox.c)."""

    def __init__(self, driver: Driver, words: tuple[int, ...], vector: int) -> None:
        """``words``: head register, tail register, ring, size; first of x2i, then of i2x."""
        self._driver = driver
        self._x2i_head, self._x2i_tail = words[0], words[1]
        self._i2x_head, self._i2x_tail = words[4], words[5]
        self._x2i, self._i2x, self._size = words[2], words[6], words[7]
        self._event = driver.eventfds[vector]
        self._tail = self._head = 0
        self._interrupts = 0
        self._id = 0x1D000000

    def post(self, opcode: int, payload: bytes) -> int:
        """Put a request into the ring and ring the doorbell; its id."""
        self._id += 1
        size = 16 + len(payload)
        if self._tail + size > self._size - 4:
            struct.pack_into("<I", self._driver.sram, self._x2i + self._tail, TOMBSTONE)
            self._tail = 0
        header = struct.pack("<IIII", len(payload), len(payload) | 1 << 16, self._id, opcode)
        at = self._x2i + self._tail
        self._driver.sram[at : at + size] = header + payload
        self._tail += size
        self._driver.mailbox_write(self._x2i_tail, self._tail)
        return self._id

    def pending(self) -> bool:
        """Whether the firmware has not taken all requests."""
        return self._driver.mailbox_read(self._x2i_head) != self._tail

    def take(self, seconds: float = 2.0) -> tuple[int, int, bytes]:
        """The next answer: id, opcode, payload. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while self._driver.mailbox_read(self._i2x_tail) == self._head:
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(0.001)
        with suppress(BlockingIOError):
            self._interrupts += os.eventfd_read(self._event)
        assert self._interrupts, "an answer comes with an interrupt"
        size, _, identity, opcode = struct.unpack_from("<IIII", self._driver.sram, self._i2x + self._head)
        if size == TOMBSTONE:
            self._head = 0
            size, _, identity, opcode = struct.unpack_from("<IIII", self._driver.sram, self._i2x)
        at = self._i2x + self._head + 16
        payload = self._driver.sram[at : at + size]
        self._head += 16 + size
        self._driver.mailbox_write(self._i2x_head, self._head)
        return identity, opcode, payload

    def ask(self, opcode: int, form: str, *values: int, seconds: float = 2.0) -> bytes:
        """Send a message and return its answer."""
        sent = self.post(opcode, struct.pack("<" + form, *values))
        identity, answered, payload = self.take(seconds)
        assert (identity, answered) == (sent, opcode)
        return payload

    def status(self, opcode: int, form: str, *values: int) -> int:
        """The first word of the answer."""
        return int(struct.unpack_from("<I", self.ask(opcode, form, *values))[0])


class Driver:
    """Boots the NPU as aie2_pci.c does, and keeps guest memory with the IOMMU's tables."""

    def __init__(self, folder: Path, generation: Generation) -> None:
        self.generation = generation
        self.client = Client(str(folder / "npu"))
        self.sram = self.client.map_region(generation.mailbox.sram)
        self.ram_fd = os.memfd_create("ram")
        os.ftruncate(self.ram_fd, RAM)
        self.ram = mmap.mmap(self.ram_fd, RAM)
        self.client.dma_map(0, RAM, self.ram_fd)
        self.eventfds = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(generation.vectors)]
        self.client.set_irqs(Irq.MSIX, 0, self.eventfds[:8])
        if generation.vectors > 8:
            self.client.set_irqs(Irq.MSIX, 8, self.eventfds[8:])
        self._tables()

    def close(self) -> None:
        self.client.close()
        self.sram.close()
        self.ram.close()
        for fd in (self.ram_fd, *self.eventfds):
            os.close(fd)

    def _tables(self) -> None:
        def quad(address: int, value: int) -> None:
            struct.pack_into("<Q", self.ram, address, value)

        quad(TABLE + BDF * 32, 1 | 2 | 1 << 55 | (GCR3 >> 12 & 7) << 58)
        quad(TABLE + BDF * 32 + 8, (GCR3 >> 15 & 0xFFFF) << 16)
        quad(GCR3 + PASID * 8, ROOT | 1)
        at = ROOT + 0x1000
        for base, physical, pages in ((USER, CHUNK_PHYSICAL, 32 * 6), (SHARED, SHARED_PHYSICAL, 1)):
            quad(ROOT + (base >> 39 & 511) * 8, at | 3)
            quad(at + (base >> 30 & 511) * 8, at + 0x1000 | 3)
            for n in range(pages):
                quad(at + 0x1000 + ((base >> 21) + n & 511) * 8, physical + n * 2 * MIB | 3 | 1 << 7)
            at += 0x2000

    def read32(self, register: Register) -> int:
        return self.client.read32(*register)

    def write32(self, register: Register, value: int) -> None:
        self.client.write32(*register, value)

    def mailbox_read(self, offset: int) -> int:
        return self.client.read32(self.generation.mailbox.bar, offset)

    def mailbox_write(self, offset: int, value: int) -> None:
        self.client.write32(self.generation.mailbox.bar, offset, value)

    def smu(self, command: int, argument: int = 0) -> int:
        """aie_smu_exec: the response."""
        places = self.generation.smu
        self.write32(places.response, 0)
        self.write32(places.argument, argument)
        self.write32(places.command, command)
        self.write32(places.interrupt, 0)
        self.write32(places.interrupt, 1)
        return self.read32(places.response)

    def psp(self, command: int, *arguments: int) -> int | None:
        """psp_exec: the response, None if the PSP does not get ready."""
        places = self.generation.psp
        assert self.read32(places.status) & 1 << 31
        self.write32(places.command, command)
        for place, value in zip((places.argument0, places.argument1, places.argument2), arguments, strict=False):
            self.write32(place, value)
        self.write32(places.interrupt, 0)
        self.write32(places.interrupt, 1)
        return self.read32(places.response) if self.read32(places.status) & 1 << 31 else None

    def start(self) -> Ring:
        """SMU, PSP, alive pointer, channel information; the management channel."""
        assert [self.smu(4), self.smu(3)] == [1, 1]
        assert self.psp(1, 0x100000, 0, 0x10000) == 0
        assert self.psp(2, 1) == 0
        return self.alive()

    def alive(self) -> Ring:
        places = self.generation.mailbox
        pointer = struct.unpack_from("<I", self.sram, places.alive)[0]
        assert pointer, "the firmware is not alive"
        info = struct.unpack_from("<12I", self.sram, pointer - places.sram_base)
        assert info[8] == MAGIC
        words = (info[1], info[0], info[2], info[3], info[5], info[4], info[6], info[7])
        return Ring(self, self.offsets(words), info[9])

    def offsets(self, words: tuple[int, ...]) -> tuple[int, ...]:
        """A pair of queues as device addresses, as offsets in the BARs."""
        places = self.generation.mailbox
        bases = (places.base, places.base, places.sram_base, 0) * 2
        return tuple(word - base for word, base in zip(words, bases, strict=True))

    def create_context(self, mgmt: Ring, pasid: int = PASID) -> tuple[int, Ring]:
        answer = mgmt.ask(Opcode.CREATE_CONTEXT, "IBBBBBBHIIII", 1, 0, 1, 0, 0, 1, 0, pasid, 0, 0, 0, 2)
        status, identity, vector, pairs, _, *words = struct.unpack("<IIHBB16I", answer)
        assert (status, pairs) == (0, 1)
        return identity, Ring(self, self.offsets(tuple(words[:8])), vector)


class Process:
    """The NPU's process and its control socket."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        argv = [sys.executable, "-m", "harness.npu", "--socket", str(folder / "npu")]
        argv += ["--control", str(folder / "control"), "--log", str(folder / "npu.jsonl"), *options]
        self.popen = subprocess.Popen(argv, stderr=subprocess.PIPE)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(5)
        deadline = time.monotonic() + 10
        while self.socket.connect_ex(str(folder / "control")):
            assert time.monotonic() < deadline, "the control socket does not appear"
            time.sleep(0.005)
        self.stream = self.socket.makefile("rwb")

    def line(self, text: bytes) -> dict[str, Any]:
        self.stream.write(text + b"\n")
        self.stream.flush()
        answer = json.loads(self.stream.readline())
        assert isinstance(answer, dict)
        return answer

    def ask(self, command: str, **arguments: object) -> Any:
        answer = self.line(json.dumps({"cmd": command, **arguments}).encode())
        assert "error" not in answer, answer
        return answer["ok"]

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [entry for entry in self.ask("log", since=0) if entry.get("event") == kind]

    def messages(self) -> list[tuple[str, int | None, str]]:
        return [(e["name"], e["status"], e["action"]) for e in self.ask("log", since=0) if "opcode" in e and "id" in e]

    def close(self) -> None:
        self.stream.close()
        self.socket.close()
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        if self.popen.stderr:
            self.popen.stderr.close()


class Heap:
    """A context with a heap: puts bytes at device addresses, runs chains from the start of chunk 0."""

    def __init__(self, driver: Driver, mgmt: Ring, chunks: int = 2) -> None:
        self.driver = driver
        self.mgmt = mgmt
        self.identity, self.ring = driver.create_context(mgmt)
        assert mgmt.status(Opcode.MAP_HOST_BUFFER, "IQQ", self.identity, USER, HEAP_CHUNK) == 0
        for n in range(1, chunks):
            assert self.add(n) == 0
        assert self.ring.status(Opcode.CONFIG_CU, "33I", 1, 0x4008000 >> 15, *[0] * 31) == 0

    def add(self, chunk: int) -> int:
        where = USER + chunk * HEAP_CHUNK
        return self.mgmt.status(Opcode.ADD_HOST_BUFFER, "IQQ", self.identity, where, HEAP_CHUNK)

    def put(self, device: int, data: bytes) -> None:
        at = CHUNK_PHYSICAL + device - 0x4000000
        self.driver.ram[at : at + len(data)] = data

    def post(self, code: bytes, arguments: tuple[int, ...] = ()) -> int:
        """Post a chain of one command whose instructions lie at 0x4010000."""
        self.put(0x4010000, code)
        slot = struct.pack("<IQQQIIIIII", 2, 0x4010000, 0, 0, len(code), 0, 0, 0, 0, len(arguments))
        slot += struct.pack(f"<{len(arguments)}I", *arguments)
        self.put(0x4000000, slot)
        return self.ring.post(Opcode.CHAIN_EXEC_NPU, struct.pack("<IIQII", 0, 0, 0x4000000, len(slot), 1))

    def run(self, code: bytes, arguments: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Status, failing slot, its status."""
        sent = self.post(code, arguments)
        identity, opcode, payload = self.ring.take()
        assert (identity, opcode) == (sent, Opcode.CHAIN_EXEC_NPU)
        return struct.unpack("<III", payload)


@pytest.fixture(scope="module")
def module_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One process for most tests: each reconnects, which is a clean power-up."""
    process = Process(tmp_path_factory.mktemp("npu"))
    yield process
    process.close()


@pytest.fixture
def npu(module_process: Process) -> Process:
    module_process.ask("reset-script")
    return module_process


@pytest.fixture
def driver(npu: Process) -> Iterator[Driver]:
    driver = Driver(npu.folder, GENERATIONS["npu4"])
    npu.ask("device-table", base=TABLE)
    yield driver
    driver.close()
    deadline = time.monotonic() + 5
    while npu.ask("state")["connected"]:
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture
def heap(driver: Driver) -> Heap:
    """A booted NPU with a context and a heap of two chunks; ``heap.mgmt`` is the management channel."""
    return Heap(driver, driver.start())


@pytest.fixture
def make_heap(driver: Driver) -> Callable[[Ring, int], Heap]:
    """A context with so many chunks on a management channel."""
    return lambda mgmt, chunks: Heap(driver, mgmt, chunks)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., tuple[Process, Driver]]]:
    """Start an NPU with other options, and a driver for it."""
    started: list[tuple[Process, Driver]] = []

    def make(*options: str, npu: str = "npu4", table: int | None = TABLE) -> tuple[Process, Driver]:
        process = Process(tmp_path, "--npu", npu, *options)
        started.append((process, Driver(tmp_path, GENERATIONS[npu])))
        if table is not None:
            process.ask("device-table", base=table)
        return started[-1]

    yield make
    for process, driver in started:
        driver.close()
        process.close()


@pytest.fixture
def start_process() -> Callable[..., Process]:
    """Start an NPU without a driver."""
    return Process
