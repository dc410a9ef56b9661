# SPDX-License-Identifier: GPL-2.0-only
"""Heap announcements and commands, over the mailbox, with addresses through the IOMMU's tables."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from harness.npu.codes import Opcode
from harness.npu.generations import HEAP_CHUNK, MIB
from harness.npu.program import Op, assemble

if TYPE_CHECKING:
    from tests.unit.npu.conftest import Driver, Heap, Process, Ring

PASID, USER, CHUNK_PHYSICAL = 1, 0x7E0000000000, 0x4000000
SHARED, SHARED_PHYSICAL = 0x7F0000000000, 0x200000


def test_a_command_reads_chunk_1_through_the_heap_and_writes_to_the_process(driver: Driver, heap: Heap) -> None:
    data = os.urandom(6000)
    across = 0x8000000 - 3000
    heap.put(across, data)
    code = assemble((Op.CRC32, 6000, across, SHARED, 0), (Op.COPY, 64, 0x8000000, 0, 0))
    target = SHARED + 64
    assert heap.run(code, (target & 0xFFFFFFFF, target >> 32)) == (0, 0, 0)
    result = driver.ram[SHARED_PHYSICAL : SHARED_PHYSICAL + 128]
    assert struct.unpack_from("<I", result)[0] == zlib.crc32(data)
    assert result[64:128] == data[3000:3064]


def test_a_chunk_that_was_not_announced_cannot_be_used(
    npu: Process, driver: Driver, make_heap: Callable[[Ring, int], Heap]
) -> None:
    heap = make_heap(driver.start(), 1)
    heap.put(0x8000000, b"there")
    code = assemble((Op.COPY, 5, 0x8000000, SHARED, 0))
    assert heap.run(code) == (0x4000001, 0, 0x4000001)
    assert npu.events("heap-error")[-1]["kind"] == "not-announced"
    assert heap.add(1) == 0
    assert heap.run(code) == (0, 0, 0)
    assert driver.ram[SHARED_PHYSICAL : SHARED_PHYSICAL + 5] == b"there"


def test_heap_errors_are_refused_and_named(npu: Process, heap: Heap) -> None:
    asked = [
        (heap.identity, USER + HEAP_CHUNK, HEAP_CHUNK),
        (heap.identity, (1 << 64) - 1, HEAP_CHUNK),
        (heap.identity, USER + 2 * HEAP_CHUNK, 4096),
        (9, USER + 2 * HEAP_CHUNK, HEAP_CHUNK),
    ]
    before = len(npu.events("heap-error"))
    assert all(heap.mgmt.status(Opcode.ADD_HOST_BUFFER, "IQQ", *request) for request in asked)
    kinds = [event["kind"] for event in npu.events("heap-error")[before:]]
    assert kinds == ["announced-twice", "invalid-address", "wrong-size", "unknown-context"]
    assert len(npu.ask("state")["contexts"][0]["host_buffers"]) == 2


def test_a_page_that_is_not_there_fails_the_command(npu: Process, heap: Heap) -> None:
    code = assemble((Op.COPY, 8, SHARED + (1 << 32), SHARED, 0))
    assert heap.run(code) == (0x1000004, 0, 0x1000004)
    assert npu.events("iommu-fault")[-1]["pasid"] == PASID


def test_a_command_needs_a_configured_unit(npu: Process, heap: Heap) -> None:
    assert heap.ring.status(Opcode.CONFIG_CU, "33I", *[0] * 33) == 0
    assert heap.run(assemble())[0] != 0
    assert "CONFIG_CU" in npu.events("protocol-error")[-1]["what"]


def test_a_dropped_command_hangs_its_context_until_it_is_made_anew(
    npu: Process, driver: Driver, heap: Heap, make_heap: Callable[[Ring, int], Heap]
) -> None:
    npu.ask("script", rules=[{"opcode": "CHAIN_EXEC_NPU", "channel": "ctx0", "drop": True}])
    heap.post(assemble())
    heap.post(assemble())
    with pytest.raises(TimeoutError):
        heap.ring.take(0.05)
    answer = heap.mgmt.ask(Opcode.GET_APP_HEALTH, "IIQ", heap.identity, 8192, 0x300000)
    assert struct.unpack_from("<II", answer) == (0, 560)
    context, pc = struct.unpack_from("<II", driver.ram, 0x300008)
    assert (context, pc) == (heap.identity, 0)
    assert heap.mgmt.status(Opcode.DESTROY_CONTEXT, "I", heap.identity) == 0
    assert make_heap(heap.mgmt, 2).run(assemble()) == (0, 0, 0)


def test_hang_and_fail_instructions(npu: Process, heap: Heap) -> None:
    assert heap.run(assemble((Op.FAIL, 0, 0, 0, 0x1000005))) == (0x1000005, 0, 0x1000005)
    heap.post(assemble((Op.HANG, 0, 0, 0, 0)))
    with pytest.raises(TimeoutError):
        heap.ring.take(0.05)
    assert npu.ask("state")["contexts"][0]["hung"] == 0


def test_debug_buffer_telemetry_and_column_status(driver: Driver, heap: Heap) -> None:
    ring, mgmt = heap.ring, heap.mgmt
    assert ring.status(Opcode.CONFIG_DEBUG_BO, "QQI", 0x20000, 4096, 1) == 0
    assert heap.run(assemble()) == (0, 0, 0)
    assert ring.status(Opcode.SYNC_BO, "QQII", 0, 0x20000, 4096, 0x20) == 0
    assert struct.unpack_from("<II", driver.ram, CHUNK_PHYSICAL + 0x20000) == (0x47424458, 1)
    assert ring.status(Opcode.CONFIG_DEBUG_BO, "QQI", 200 * MIB, 4096, 1) == 0x4000001
    telemetry = mgmt.ask(Opcode.GET_TELEMETRY, "IQI", 1, 0x300000, 64)
    assert struct.unpack("<4I", telemetry) == (1, 0, 16, 0)
    status = mgmt.ask(Opcode.QUERY_COL_STATUS, "QIII", 0x300000, 8192, 2, 3)
    assert struct.unpack("<II", status) == (0, 8192)


def test_deferred_answers_come_after_the_doorbell(
    start: Callable[..., tuple[Process, Driver]],
) -> None:
    _, driver = start("--deferred")
    mgmt = driver.start()
    mgmt.post(Opcode.GET_FIRMWARE_VERSION, bytes(4))
    assert mgmt.pending(), "not taken inside the doorbell write"
    mgmt.take()
    assert not mgmt.pending()


def test_carveout_has_no_pasid_capability_and_addresses_are_physical(
    start: Callable[..., tuple[Process, Driver]],
) -> None:
    _, driver = start("--address-mode", "carveout")
    assert driver.client.config(0x100, 4) == bytes(4)
    mgmt = driver.start()
    identity, ring = driver.create_context(mgmt, pasid=0)
    assert mgmt.status(Opcode.MAP_HOST_BUFFER, "IQQ", identity, CHUNK_PHYSICAL, HEAP_CHUNK) == 0
    assert ring.status(Opcode.CONFIG_CU, "33I", 1, *[0x4008000 >> 15] * 32) == 0
    code = assemble((Op.STORE, 0, 0, SHARED_PHYSICAL, 77))
    driver.ram[CHUNK_PHYSICAL + 64 : CHUNK_PHYSICAL + 64 + len(code)] = code
    slot = struct.pack("<IQQQIIIIII", 2, 0x4000040, 0, 0, len(code), 0, 0, 0, 0, 0)
    driver.ram[CHUNK_PHYSICAL : CHUNK_PHYSICAL + len(slot)] = slot
    assert ring.status(Opcode.CHAIN_EXEC_NPU, "IIQII", 0, 0, 0x4000000, len(slot), 1) == 0
    assert struct.unpack_from("<Q", driver.ram, SHARED_PHYSICAL)[0] == 77
