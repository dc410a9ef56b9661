# SPDX-License-Identifier: GPL-2.0-only
"""Two threads that wait for each other for ever take the driver with them. Then the guest is given up, so that no other
test meets it: the test is lost."""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from harness.drm.client import Client
from harness.drm.command import State
from harness.drm.device import Device
from harness.drm.heap import Heap
from harness.guest.counters import mailboxes
from harness.guest.expect import eventually, works
from harness.guest.npu import Npu
from harness.guest.worker import Worker

RACE_SECONDS = 3.0
LIMIT_SECONDS = 25.0
"""A chunk takes 3 s where it takes longest."""
UNKNOWN = struct.pack("<I", State.NEW | 1 << 12 | 30 << 23)
"""A command of an opcode that there is not."""
QUEUED = 4
EXITS = 30


def race(device: Device) -> None:
    """Contexts come and go while a chunk is created, which with force_iova takes a while."""
    heap = Heap(Client.open(device.node))
    with works("first chunk"):
        heap.add_chunk()
    stop = time.monotonic() + RACE_SECONDS

    def contexts() -> None:
        while time.monotonic() < stop:
            heap.client.destroy_hwctx(heap.client.create_hwctx())

    threads = [threading.Thread(target=body) for body in (contexts, heap.create_chunk)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def started(body: Callable[[Device], None], device: Device) -> int:
    """A child that does it and exits."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            body(device)
            status = 0
        finally:
            os._exit(status)
    return child


def ended(child: int) -> bool:
    """Whether it has; one that could not do what it is for fails the test."""
    gone, status = os.waitpid(child, os.WNOHANG)
    if gone and status:
        pytest.fail(f"the child ended with {status}: its traceback is in the suite's log", pytrace=False)
    return gone == child


def give_up() -> None:
    """Write the stacks of what hangs to the kernel's log, and end the guest (Documentation/admin-guide/sysrq.rst). Of
    what waits in the driver, too, where a signal would wake it: that is no hung task."""
    with open("/dev/kmsg", "w") as log:
        for stack in Path("/proc").glob("[0-9]*/stack"):
            with suppress(OSError):
                lines = stack.read_text().splitlines()
                for line in [stack.with_name("comm").read_text(), *lines] if "amdxdna" in "".join(lines) else ():
                    print(line.strip(), file=log, flush=True)
    for key in "wc":
        Path("/proc/sysrq-trigger").write_text(key)


@pytest.mark.generations("npu4", "npu5", "npu6")
@pytest.mark.modes("force-iova")  # elsewhere a buffer is opened in no time: lockdep alone sees it
@pytest.mark.mode
@pytest.mark.root
@pytest.mark.stress
@pytest.mark.fw
def test_l35_chunk_against_context(device: Device, npu: Npu) -> None:
    """L35: a thread that creates a chunk and one that creates a context both end.

    A process that does not cannot be killed, and keeps the driver's locks. Source: amdxdna_gem.c,
    amdxdna_gem_obj_open() takes the chunk's lock, then mm_lock; amdxdna_ctx.c, amdxdna_hwctx_expand_heap() the other
    way round.
    """
    child = started(race, device)
    try:
        eventually(partial(ended, child), "both threads end", LIMIT_SECONDS)
    except AssertionError:
        give_up()


def leave_refused_commands(device: Device) -> None:
    """Queue commands that will be refused, and be gone before all of them are looked at."""
    heap = Heap(Client.open(device.node))
    heap.add_chunk()
    worker = Worker(heap)
    for _ in range(QUEUED):
        worker.send(UNKNOWN)


@pytest.mark.root
@pytest.mark.stress
@pytest.mark.fw
def test_l14_exit_with_refused_commands(device: Device) -> None:
    """L14: a process that exits while commands of it are refused takes nothing along: its context goes.

    Source: aie2_ctx.c, aie2_sched_job_run() gives the process's memory back where a command cannot be sent. Is that the
    last of the process, its buffers are unmapped there, and that waits for the commands that use them: for this one.
    """
    for number in range(EXITS):
        child = started(leave_refused_commands, device)
        try:
            eventually(partial(ended, child), "a process ends", LIMIT_SECONDS)
            eventually(lambda: mailboxes() <= 1, f"its context goes, as {number} went before", LIMIT_SECONDS)
        except AssertionError:
            give_up()
