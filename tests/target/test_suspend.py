# SPDX-License-Identifier: GPL-2.0-only
"""The whole system goes to sleep, as far as its devices are concerned: the driver's own part of it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from harness.drm.client import Client
from harness.drm.device import Device
from harness.drm.heap import CHUNK, DEVICE_BASE, MIB, Heap
from harness.guest.expect import falls_asleep, refused, works
from harness.guest.kmsg import Reader
from harness.guest.npu import Npu
from harness.guest.sleep import suspend_devices
from harness.guest.worker import Worker

CHUNKS = 4
INVALID_PARAM = 0x4000003
DRM_UT_DRMRES = 0x200
"""include/drm/drm_print.h: messages about what is kept until the device goes."""
REPLAYED = ["CREATE_CONTEXT", "MAP_HOST_BUFFER", *["ADD_HOST_BUFFER"] * (CHUNKS - 1), "CONFIG_CU"]


@pytest.mark.fw
@pytest.mark.root
@pytest.mark.generations("npu4", "npu5", "npu6")
@pytest.mark.parametrize("asleep", [False, True], ids=["in use", "asleep already"])
@pytest.mark.mode
@pytest.mark.leaves(
    "slab.shmem_inode_cache", 1
)  # the device file of the port that stepped aside: the agent has it open
def test_e27_system_suspend(heap: Heap, npu: Npu, device: Device, asleep: bool) -> None:
    """E27: after a suspend of the system a context has all its chunks, with what was in them, and the heap can grow.

    Source: amdxdna_pm.c, amdxdna_pm_suspend(), amdxdna_pm_resume(); aie2_ctx.c, aie2_hwctx_restart().
    """
    with works("first chunk and a context"):
        heap.add_chunk()
        worker = Worker(heap)
    with works("three chunks more and a DEV BO that announces them"):
        chunks = [heap.add_chunk() for _ in range(CHUNKS - 1)]
        heap.create_dev(MIB)
    for number, chunk in enumerate(chunks):
        assert chunk.mapping is not None
        chunk.mapping.write(0, b"kept %d" % number)
    if asleep:
        falls_asleep(device)
    since = npu.mark()
    with works("suspending all devices"):
        suspend_devices()
    for number in range(CHUNKS - 1):
        assert worker.fetch(DEVICE_BASE + (number + 1) * CHUNK, 6) == b"kept %d" % number
    assert [message["name"] for message in npu.messages(since, *REPLAYED)] == REPLAYED
    with works("another chunk and a DEV BO"):
        last = heap.add_chunk()
        heap.create_dev(MIB)
    assert last.mapping is not None
    last.mapping.write(0, b"new")
    assert worker.fetch(DEVICE_BASE + CHUNKS * CHUNK, 3) == b"new"
    assert npu.trouble(since) == []


@pytest.mark.fw
@pytest.mark.root
def test_o27_failed_start_keeps_nothing(client: Client, npu: Npu, device: Device) -> None:
    """O27: a start of firmware that fails keeps nothing that is given back with the device only.

    DRM tells what it keeps for a device (drm.debug). Source: drivers/gpu/drm/drm_managed.c, add_dr(), drmm_kfree();
    aie2_pci.c, aie2_hw_start(), aie2_hw_stop().
    """
    debug = Path("/sys/module/drm/parameters/debug")
    before = debug.read_text()
    messages = Reader()
    falls_asleep(device)
    try:
        debug.write_text(str(DRM_UT_DRMRES))
        messages.read()
        npu.script({"opcode": "QUERY_AIE_VERSION", "status": INVALID_PARAM})
        with refused(errno.EINVAL, "query that wakes the device, whose firmware refuses"):
            client.contexts_alive()
        npu.reset()
        with works("query that wakes the device"):
            client.contexts_alive()
        falls_asleep(device)
        records, lost = messages.read()
    finally:
        debug.write_text(before)
        messages.close()
    assert not lost
    kept = [record.text for record in records if " ADD " in record.text]
    given_back = [record.text for record in records if " DEL " in record.text]
    assert len(kept) == len(given_back), kept
