# SPDX-License-Identifier: GPL-2.0-only
"""Commands in flight, and what becomes of them when their buffers, contexts or processes go."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from harness.drm import command, ioctl, structs
from harness.drm.client import Client
from harness.drm.command import State
from harness.drm.device import Device
from harness.drm.heap import CHUNK, DEVICE_BASE, MIB, Heap
from harness.drm.structs import BoType
from harness.guest.child import in_child
from harness.guest.counters import mailboxes, shared_memory
from harness.guest.expect import eventually, falls_asleep, name_of, refused, works
from harness.guest.npu import Npu
from harness.guest.program import Program
from harness.guest.worker import Worker, serves

pytestmark = pytest.mark.fw
EXPANDING = pytest.mark.generations("npu4", "npu5", "npu6")
SHARED_MEMORY = pytest.mark.modes("sva", "force-iova")
"""Where buffers are shared memory, which the system counts; carveout memory it does not."""
RACE_SECONDS = 3.0


@pytest.fixture(autouse=True)
def _started_anew(npu: Npu, device: Device) -> Iterator[None]:
    """Whatever became of firmware, the next test finds it alive: it starts when the suspended device is used."""
    yield
    npu.reset()
    device.suspend()


@SHARED_MEMORY
@pytest.mark.mode
def test_l14_exit_with_a_hung_command(open_client: Callable[[], Client], npu: Npu, device: Device) -> None:
    """L14: a process that ends while its command hangs is gone in the time that a hung command is given, with all it
    had: memory, context, channel.

    Source: aie2_ctx.c, aie2_hwctx_fini(), aie2_sched_job_timedout() (tdr_timeout_ms 2000).
    """
    before = shared_memory()

    def body() -> None:
        heap = Heap(Client.open(device.node))
        with works("first chunk, a context and a command that hangs"):
            heap.add_chunk()
            Worker(heap).submit(Program().hang())

    started = time.monotonic()
    in_child(body)
    assert time.monotonic() - started < 40, "the process took long to end"
    eventually(lambda: shared_memory() - before < CHUNK // 4, "the memory of the process is back")
    eventually(lambda: mailboxes() <= 1, "the channel of its context is gone")
    serves(open_client, "after the process ended")


def test_l14_health_of_a_hung_command(heap: Heap, npu: Npu) -> None:
    """L14: a command that hangs ends as TIMEOUT, and its buffer holds firmware's report: version 1, of an AIE2.

    Source: aie2_ctx.c, aie2_set_cmd_timeout(); amdxdna_ctx.h, struct amdxdna_ctx_health.
    """
    client = heap.client
    with works("first chunk, a context, and command and code buffers"):
        heap.add_chunk()
        worker = Worker(heap)
        code = heap.create_dev(4096)
        cmd = client.create_bo(BoType.CMD, 4096)
        memory = client.map_bo(cmd, 4096)
    program, since = bytes(Program().hang()), npu.mark()
    heap.view(code, 4096).write(0, program)
    memory.write(0, command.start_npu(client.bo_info(code).xdna_addr, len(program), ()))
    with works("command that hangs"):
        client.wait(worker.context, client.exec_cmd(worker.context, cmd, [code]))
    assert command.state(memory.read(0, 4)) is State.TIMEOUT
    assert struct.unpack("<II", memory.read(4, 8)) == (1, 0), "version and generation of the report"
    eventually(lambda: len(npu.messages(since, "CONFIG_CU")) > 0, "the context is set up again")


@pytest.mark.quick
def test_l16_handles_closed_behind_a_command(heap: Heap, npu: Npu) -> None:
    """L16: a command whose buffer handles are closed as soon as it is submitted completes all the same.

    Source: amdxdna_ctx.c, amdxdna_cmd_submit() holds the buffers by reference.
    """
    with works("first chunk and a context"):
        heap.add_chunk()
        worker = Worker(heap)
    client = heap.client
    with works("command and code buffers of their own"):
        code = heap.create_dev(4096)
        program = bytes(Program().store(worker.result_address, 0x16))
        heap.view(code, 4096).write(0, program)
        cmd = client.create_bo(BoType.CMD, 4096)
        memory = client.map_bo(cmd, 4096)
        memory.write(0, command.start_npu(client.bo_info(code).xdna_addr, len(program), ()))
        seq = client.exec_cmd(worker.context, cmd, [code])
        client.close_bo(cmd)
        client.close_bo(code)
        client.wait(worker.context, seq)
    assert command.state(memory.read(0, 4)) is State.COMPLETED
    assert worker.result.read(0, 8) == (0x16).to_bytes(8, "little")


def test_l16_heap_handle_closed(heap: Heap, npu: Npu, device: Device) -> None:
    """L16: with the chunk's handle closed, contexts are created, and come back from suspend, as before.

    Source: aie2_ctx.c, aie2_hwctx_init() takes the chunk from dev_heap_xa; aie2_hwctx_restart(). Linux 7.1 follows
    abo->client of the closed handle, which is NULL.
    """
    with works("first chunk and a context"):
        chunk = heap.add_chunk()
        worker = Worker(heap)
    heap.client.close_bo(chunk.handle)
    with works("another context"):
        heap.client.create_hwctx()
    falls_asleep(device)
    worker.fetch(DEVICE_BASE, 4)


@pytest.mark.quick
@pytest.mark.parametrize("what", ["no such handle", "more than there are", "a chain in a chain"])
def test_l18_broken_chain(heap: Heap, npu: Npu, what: str) -> None:
    """L18: a chain with a command that is none is refused, or ends without having run; nothing is read behind the
    buffer's end. (What the scheduler could not start ends with an error on its fence and the state it had: NEW.)

    Source: aie2_message.c, aie2_cmdlist_multi_cmd(), amdxdna_cmd_get_payload().
    """
    with works("first chunk, a context and a command buffer"):
        heap.add_chunk()
        worker = Worker(heap)
        cmd = heap.client.create_bo(BoType.CMD, 4096)
        memory = heap.client.map_bo(cmd, 4096)
    chain = bytearray(command.chain([4711] if what == "no such handle" else [cmd]))
    if what == "more than there are":
        chain[4:8] = (4000).to_bytes(4, "little")  # the number of commands
    memory.write(0, bytes(chain))
    error = 0
    try:
        heap.client.wait(worker.context, heap.client.exec_cmd(worker.context, cmd))
    except OSError as refusal:
        error = refusal.errno or 0
    state = command.state(memory.read(0, 4))
    assert error in (0, errno.EINVAL, errno.ENOENT), f"{what}: got {name_of(error)}"
    assert error or state in (State.NEW, State.ERROR, State.ABORT), f"{what}: ended as {state.name}"
    assert worker.run(Program().store(worker.result_address, 18)) is State.COMPLETED


@pytest.mark.quick
@EXPANDING
def test_l18_chain_larger_than_its_buffer(heap: Heap, npu: Npu) -> None:
    """L18: a chain whose commands do not fit into the command buffer of 4 KiB together is not sent.

    Source: aie2_message.c, aie2_cmdlist_multi_execbuf(), aie2_cmdlist_fill_npu_dpu(); MAX_CHAIN_CMDBUF_SIZE.
    """
    client = heap.client
    with works("first chunk, a context and command buffers"):
        heap.add_chunk()
        worker = Worker(heap)
        one, all_of_them = client.create_bo(BoType.CMD, 4096), client.create_bo(BoType.CMD, 4096)
    client.map_bo(one, 4096).write(0, command.start_npu(DEVICE_BASE, 0, [0] * 26))
    memory = client.map_bo(all_of_them, 4096)
    memory.write(0, command.chain([one] * 40))
    since = npu.mark()
    with suppress(OSError):
        client.wait(worker.context, client.exec_cmd(worker.context, all_of_them, [one]))
    assert command.state(memory.read(0, 4)) is not State.COMPLETED
    assert npu.messages(since, "CHAIN_EXEC_NPU") == []
    assert worker.run(Program().store(worker.result_address, 18)) is State.COMPLETED


def test_l27_device_sleeps_after_each_call(heap: Heap, npu: Npu, device: Device) -> None:
    """L27: whatever was called, the device suspends when nothing is in flight: each resume has its put.

    Source: amdxdna_pm.c, amdxdna_pm_resume_get(), amdxdna_pm_suspend_put().
    """
    client = heap.client
    with works("first chunk and a context"):
        heap.add_chunk()
        worker = Worker(heap)
    calls: dict[str, Callable[[], object]] = {
        "DEV BO": lambda: client.close_bo(heap.create_dev(4096)),
        "command": lambda: worker.fetch(DEVICE_BASE, 4),
        "query": client.contexts_alive,
        "context": lambda: client.destroy_hwctx(client.create_hwctx()),
    }
    for name, call in calls.items():
        with works(name):
            call()
        falls_asleep(device)
    with refused(errno.EINVAL, "units set up a second time"):
        client.config_cu(worker.context, [(worker.cu, 0)])
    falls_asleep(device)


def test_l27_device_sleeps_after_an_unknown_query(heap: Heap, npu: Npu, device: Device) -> None:
    """L27: a query that the driver does not know is refused, and the device suspends all the same.

    Source: aie2_pci.c, aie2_get_info(), aie2_get_array().
    """
    buffer = ctypes.create_string_buffer(64)
    where = ctypes.addressof(buffer)
    with refused(errno.EOPNOTSUPP, "GET_INFO 99"):
        ioctl.call(heap.client.fd, ioctl.GET_INFO, structs.GetInfo(param=99, buffer_size=64, buffer=where))
    falls_asleep(device)
    with refused(errno.EOPNOTSUPP, "GET_ARRAY 99"):
        request = structs.GetArray(param=99, element_size=64, num_element=1, buffer=where)
        ioctl.call(heap.client.fd, ioctl.GET_ARRAY, request)
    falls_asleep(device)


def test_l27_device_sleeps_after_units_that_nobody_acknowledged(heap: Heap, npu: Npu, device: Device) -> None:
    """L27: when firmware never acknowledges its compute units, the end of the context lets the device suspend.

    Source: aie2_ctx.c, aie2_config_cu_resp_handler() is told when the channel is closed.
    """
    with works("first chunk and a context"):
        heap.add_chunk()
        worker = Worker(heap, configured=False)
    npu.script({"opcode": "CONFIG_CU", "drop": True})
    with works("compute units, and the end of the context"):
        worker.configure()
        heap.client.destroy_hwctx(worker.context)
    falls_asleep(device)


def test_l27_firmware_is_told_before_it_sleeps(heap: Heap, npu: Npu, device: Device) -> None:
    """L27: a device that suspends ends its contexts in firmware, and then suspends firmware.

    Source: aie2_pci.c, aie2_hw_suspend(), aie2_hw_stop().
    """
    with works("first chunk and a context"):
        heap.add_chunk()
        Worker(heap)
    since = npu.mark()
    falls_asleep(device)
    told = [message["name"] for message in npu.messages(since, "DESTROY_CONTEXT", "SUSPEND")]
    assert told == ["DESTROY_CONTEXT", "SUSPEND"]


def test_l29_killed_while_firmware_is_silent(open_client: Callable[[], Client], npu: Npu, device: Device) -> None:
    """L29: a process that is killed while it waits for firmware ends within the driver's own limit of 5 s.

    Source: amdxdna_mailbox_helper.c, xdna_send_msg_wait(): the wait is not interruptible, but has an end.
    """
    npu.script({"opcode": "CREATE_CONTEXT", "drop": True})
    since = npu.mark()
    child = os.fork()
    if child == 0:
        try:
            heap = Heap(Client.open(device.node))
            heap.add_chunk()
            heap.client.create_hwctx()
        finally:
            os._exit(0)
    started = time.monotonic()
    try:
        eventually(lambda: len(npu.messages(since, "CREATE_CONTEXT")) > 0, "the child asks for a context", 20.0)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert time.monotonic() - started < 40
    npu.reset()
    falls_asleep(device)
    serves(open_client, "after the process ended")


def test_l30_compute_unit_closed_while_asleep(heap: Heap, npu: Npu, device: Device) -> None:
    """L30: a context keeps the buffers of its compute units: closing their handles does not break the next resume.

    Source: aie2_ctx.c, aie2_hwctx_cu_config() looks the handles up again at each restart (Linux 7.3).
    """
    with works("first chunk and a context"):
        heap.add_chunk()
        worker = Worker(heap)
    heap.client.close_bo(worker.cu)
    falls_asleep(device)
    with works("query that wakes the device"):
        heap.client.contexts_alive()
    assert worker.run(Program().store(worker.result_address, 30)) is State.COMPLETED


@EXPANDING
@pytest.mark.stress
def test_l35_expansion_against_destruction(heap: Heap, npu: Npu, device: Device) -> None:
    """L35: DEV BOs that expand the heap, and contexts that come and go meanwhile, do not meet each other's remains.

    A chunk is never created while a context is: there 7.3 deadlocks, with force_iova at once (amdxdna_gem_obj_open()
    takes abo->lock, then mm_lock, amdxdna_hwctx_expand_heap() the other way round). lockdep says so in every debug run;
    here it would cost the guest. Source: amdxdna_ctx.c, amdxdna_update_heap(), amdxdna_hwctx_destroy_rcu();
    928caf71e566 mended one such race.
    """
    client = heap.client
    with works("first chunk and a context"):
        heap.add_chunk()
        worker = Worker(heap)
    trouble: list[str] = []
    creating = threading.Lock()
    stop = time.monotonic() + RACE_SECONDS

    def contexts() -> None:
        while time.monotonic() < stop:
            try:
                with creating:
                    context = client.create_hwctx()
                client.destroy_hwctx(context)
            except OSError as error:
                trouble.append(f"context: {name_of(error.errno)}")

    def sleep() -> None:
        while time.monotonic() < stop:
            device.set_autosuspend_ms(0)
            time.sleep(0.01)

    delay = device.autosuspend_ms()
    threads = [threading.Thread(target=body) for body in (contexts, sleep)]
    for thread in threads:
        thread.start()
    try:
        for number in range(2, 5):
            with works(f"chunk {number}"), creating:
                heap.add_chunk()
            client.close_bo(heap.create_dev(MIB))  # at least one, however slow the guest: it announces the chunk
            while time.monotonic() < stop - RACE_SECONDS * (4 - number) / 4:
                client.close_bo(heap.create_dev(MIB))
    finally:
        for thread in threads:
            thread.join()
        device.set_autosuspend_ms(delay)
    assert not trouble, trouble[:5]
    assert worker.fetch(DEVICE_BASE + CHUNK, 4) == bytes(4)
    assert client.contexts_alive() == 1
