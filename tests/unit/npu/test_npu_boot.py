# SPDX-License-Identifier: GPL-2.0-only
"""Power, boot, suspend, reset, as the driver does them; all generations."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from harness.npu.codes import Opcode
from harness.npu.generations import GENERATIONS

if TYPE_CHECKING:
    from tests.unit.npu.conftest import Driver, Heap, Process


def test_the_boot_of_the_driver(npu: Process, driver: Driver) -> None:
    seen = npu.ask("state")["entries"]
    mgmt = driver.start()
    assert mgmt.status(Opcode.SET_RUNTIME_CONFIG, "IQ", 5, 1) == 0
    assert mgmt.status(Opcode.ASSIGN_MGMT_PASID, "HH", 0, 0) == 0
    assert mgmt.status(Opcode.UPDATE_PROPERTY, "IB7xI4x", 0, 0xFF, 30000) == 0
    assert mgmt.status(Opcode.SUSPEND, "I", 0) == 0
    assert driver.read32(driver.generation.psp.wait_mode) & 1
    assert mgmt.status(Opcode.RESUME, "I", 0) == 0
    assert not driver.read32(driver.generation.psp.wait_mode) & 1
    assert [driver.smu(8, 7), driver.smu(7, 7)] == [1, 1]
    assert len(mgmt.ask(Opcode.GET_FIRMWARE_VERSION, "I", 0)) == 20
    columns = struct.unpack_from("<H", mgmt.ask(Opcode.QUERY_AIE_TILE_INFO, "I", 0), 12)[0]
    assert columns == 8
    for n in range(columns):
        mgmt.post(Opcode.REGISTER_ASYNC_EVENT, struct.pack("<QI", 0x300000 + n * 0x2000, 0x2000))
    assert mgmt.status(Opcode.GET_DEV_REVISION, "I", 0) == 0
    state = npu.ask("state")
    assert state["firmware"]["async_events"] == 8
    assert state["power"] == {"on": True, "SET_HARD_DPM": 7, "SET_SOFT_DPM": 7}
    assert not [e for e in npu.ask("log", since=seen) if e.get("event") in ("fault", "protocol-error")]


@pytest.mark.parametrize("name", ["npu1", "npu6"])
def test_the_other_generations_boot(start: Callable[..., tuple[Process, Driver]], name: str) -> None:
    process, driver = start(npu=name)
    mgmt = driver.start()
    assert len(mgmt.ask(Opcode.GET_FIRMWARE_VERSION, "I", 0)) == 20
    contexts = GENERATIONS[name].contexts
    assert [driver.create_context(mgmt)[0] for _ in range(contexts)] == list(range(contexts))
    request = (1, 0, 1, 0, 0, 1, 0, 1, 0, 0, 0, 2)
    assert mgmt.status(Opcode.CREATE_CONTEXT, "IBBBBBBHIIII", *request) == 0x2000003
    assert not process.events("fault")


def test_release_and_a_second_boot_forget_everything(npu: Process, driver: Driver, heap: Heap) -> None:
    assert driver.psp(3) == 0
    assert npu.ask("state")["contexts"] == []
    assert not npu.ask("state")["firmware"]["alive"]
    assert driver.create_context(driver.start())[0] == 0


def test_answers_wait_for_room_in_the_ring(driver: Driver) -> None:
    mgmt = driver.start()
    sent = [mgmt.post(Opcode.GET_FIRMWARE_VERSION, bytes(4)) for _ in range(200)]
    assert [mgmt.take()[0] for _ in sent] == sent


def test_a_client_that_goes_takes_its_memory_and_tables_along(
    start: Callable[..., tuple[Process, Driver]],
) -> None:
    process, driver = start()
    assert process.ask("state")["device_table"] is not None
    driver.client.close()
    deadline = time.monotonic() + 5
    while process.ask("state")["connected"]:
        assert time.monotonic() < deadline
    state = process.ask("state")
    assert (state["device_table"], state["dma_windows"], state["contexts"]) == (None, 0, [])


def test_flr_is_a_power_up(npu: Process, driver: Driver) -> None:
    driver.start()
    at = driver.client.config(0x34, 1)[0]
    while driver.client.config(at, 1)[0] != 0x10:
        at = driver.client.config(at + 1, 1)[0]
    driver.client.write(7, at + 8, struct.pack("<H", 0x8000))
    assert not npu.ask("state")["firmware"]["alive"]
    driver.start()


def test_an_older_protocol_has_no_add_host_buffer(start: Callable[..., tuple[Process, Driver]]) -> None:
    process, driver = start("--protocol", "6.12")
    mgmt = driver.start()
    identity, _ = driver.create_context(mgmt)
    assert mgmt.status(Opcode.MAP_HOST_BUFFER, "IQQ", identity, 0x10000000, 2 << 26) == 0
    assert mgmt.status(Opcode.ADD_HOST_BUFFER, "IQQ", identity, 0x18000000, 1 << 26) == 0x4000002
    assert [event["kind"] for event in process.events("heap-error")] == ["not-supported"]


def test_psp_smu_and_boot_rules(npu: Process, driver: Driver) -> None:
    rules = [
        {"smu": "SET_HARD_DPM", "status": 0xFF},
        {"psp": "START", "status": 0xFFFF0002},
        {"boot": "dead"},
        {"psp": "VALIDATE", "skip": 1, "drop": True},
    ]
    npu.ask("script", rules=rules)
    assert [driver.smu(3), driver.smu(8, 7), driver.smu(8, 7)] == [1, 0xFF, 1]
    assert driver.psp(2) == 0xFFFF0002
    assert driver.psp(2) == 0xFFFF0007, "START without VALIDATE"
    assert driver.psp(1) == 0
    assert driver.psp(2) == 0
    assert struct.unpack_from("<I", driver.sram, driver.generation.mailbox.alive)[0] == 0, "dead"
    assert driver.psp(1) is None, "dropped: never ready"
    assert driver.smu(3) == 1
    driver.start()
