# SPDX-License-Identifier: GPL-2.0-only
"""What the script makes the NPU do, and who is blamed when something is wrong."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from harness.npu.codes import Opcode

if TYPE_CHECKING:
    from tests.unit.npu.conftest import Driver, Heap, Process, Ring


def test_the_nth_message_is_answered_with_a_status(
    npu: Process, driver: Driver, make_heap: Callable[[Ring, int], Heap]
) -> None:
    heap = make_heap(driver.start(), 1)
    npu.ask("script", rules=[{"opcode": "ADD_HOST_BUFFER", "skip": 1, "count": 1, "status": 0x4000003}])
    assert heap.add(1) == 0
    assert heap.add(2) == 0x4000003
    assert heap.add(2) == 0, "a refused chunk may be announced again"


def test_dropped_late_and_malformed_answers(npu: Process, driver: Driver) -> None:
    mgmt = driver.start()
    npu.ask("script", rules=[{"opcode": 0x10B, "drop": True}, {"opcode": 0xF, "delay": 0.05}])
    mgmt.post(Opcode.GET_RUNTIME_CONFIG, struct.pack("<I", 1))
    with pytest.raises(TimeoutError):
        mgmt.take(0.03)
    late = mgmt.post(Opcode.QUERY_AIE_VERSION, bytes(4))
    with pytest.raises(TimeoutError):
        mgmt.take(0.005)
    prompt = mgmt.post(Opcode.GET_FIRMWARE_VERSION, bytes(4))
    assert [mgmt.take()[0], mgmt.take()[0]] == [prompt, late], "a late answer holds up no other"
    npu.ask("script", rules=[{"opcode": "GET_FIRMWARE_VERSION", "malform": "size"}])
    assert len(mgmt.ask(Opcode.GET_FIRMWARE_VERSION, "I", 0)) == 24
    assert [m[2] for m in npu.messages()[-4:]] == ["dropped", "late", "answered", "malformed"]


def test_a_late_answer_after_a_restart_is_lost(npu: Process, driver: Driver) -> None:
    mgmt = driver.start()
    npu.ask("script", rules=[{"opcode": 0xF, "delay": 0.03}])
    mgmt.post(Opcode.QUERY_AIE_VERSION, bytes(4))
    assert driver.psp(3) == 0
    time.sleep(0.06)
    assert npu.events("answer-lost")[-1]["opcode"] == 0xF


def test_an_unknown_opcode_is_a_fault_and_answered(npu: Process, driver: Driver) -> None:
    mgmt = driver.start()
    faults = npu.ask("state")["faults"]
    assert mgmt.status(0x1FF, "I", 0) == 0x4000002
    assert npu.events("fault")[-1]["what"] == "unknown opcode 0x1ff on channel mgmt"
    assert npu.ask("state")["faults"] == faults + 1
    assert mgmt.status(Opcode.GET_FIRMWARE_VERSION, "I", 0) == 0


def test_unknown_registers_and_commands_are_faults(npu: Process, driver: Driver) -> None:
    driver.start()
    before = len(npu.events("fault"))
    assert driver.client.read32(0, 0x5000) == 0
    driver.client.read32(0, 0x5000)
    driver.client.write32(5, 0x904, 1)
    driver.client.read(0, 0x10078, 2)
    assert driver.psp(9) == 0xFFFF0002
    assert driver.smu(99) != 1
    found = [event["what"] for event in npu.events("fault")[before:]]
    assert [what.split(":")[0] for what in found] == [
        "unknown register read",
        "unknown register written",
        "unknown register read",
        "unknown PSP command 0x9",
        "unknown SMU command 0x63",
    ]


def test_what_the_driver_does_wrong_is_not_our_fault(npu: Process, driver: Driver) -> None:
    mgmt = driver.start()
    faults, before = npu.ask("state")["faults"], len(npu.events("protocol-error"))
    assert mgmt.status(Opcode.MAP_HOST_BUFFER, "I", 0) == 0x4000002
    assert mgmt.status(Opcode.DESTROY_CONTEXT, "I", 5) != 0
    assert mgmt.status(Opcode.CHAIN_EXEC_NPU, "IIQII", 0, 0, 0, 0, 0) != 0
    assert mgmt.status(Opcode.SUSPEND, "I", 0) == 0
    assert mgmt.status(Opcode.GET_FIRMWARE_VERSION, "I", 0) != 0
    driver.mailbox_write(0x20100, 16)
    driver.mailbox_write(0x20000, 7)
    whats = [event["what"] for event in npu.events("protocol-error")[before:]]
    assert whats == [
        "MAP_HOST_BUFFER of 4 bytes",
        "there is no context 5",
        "CHAIN_EXEC_NPU on channel mgmt",
        "GET_FIRMWARE_VERSION while the firmware is suspended",
        "doorbell of channel slot 1, which is closed",
        "bad ring: tail 0x7",
    ]
    assert npu.ask("state")["faults"] == faults


def test_the_channel_of_a_destroyed_context_is_closed(npu: Process, heap: Heap) -> None:
    assert heap.mgmt.status(Opcode.DESTROY_CONTEXT, "I", heap.identity) == 0
    heap.post(b"")
    assert npu.events("protocol-error")[-1]["what"] == "doorbell of channel slot 1, which is closed"


def test_a_command_before_the_device_table_is_known_is_the_harnesss_fault(
    start: Callable[..., tuple[Process, Driver]],
) -> None:
    process, driver = start("--address-mode", "force-iova", table=None)
    ring = driver.create_context(driver.start(), pasid=0)[1]
    ring.post(Opcode.CHAIN_EXEC_NPU, struct.pack("<IIQII", 0, 0, 0x7E0000000000, 64, 1))
    assert struct.unpack_from("<I", ring.take()[2])[0] != 0
    assert "device-table" in process.events("fault")[-1]["what"]


def test_an_asynchronous_error_answers_a_registration(npu: Process, driver: Driver) -> None:
    mgmt = driver.start()
    assert npu.ask("async-error") is False
    sent = mgmt.post(Opcode.REGISTER_ASYNC_EVENT, struct.pack("<QI", 0x300000, 8192))
    npu.ask("async-error", row=3, col=2, event=60, count=2)
    assert mgmt.take()[0] == sent
    assert struct.unpack_from("<IIIBBxxIB", driver.ram, 0x300000) == (2, 0, 0, 3, 2, 1, 60)
    assert npu.ask("state")["firmware"]["async_events"] == 0
