# SPDX-License-Identifier: GPL-2.0-only
"""The driver is taken from its device, or unloaded, while somebody still has it open; a buffer outlives its client.

In carveout mode the memory is given to the device once and is gone with it, so these run in the other modes only.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress

import pytest

from harness.drm.client import Client
from harness.drm.device import Device
from harness.drm.heap import CHUNK, DEVICE_BASE, MIB, Heap
from harness.drm.structs import BoType
from harness.guest import modules
from harness.guest.binding import unbound
from harness.guest.counters import mailboxes, shared_memory
from harness.guest.expect import eventually, falls_asleep, refused, works
from harness.guest.npu import Npu
from harness.guest.program import Program
from harness.guest.variant import OPTIONS
from harness.guest.worker import Worker, serves

pytestmark = [pytest.mark.root, pytest.mark.modes("sva", "force-iova")]
SIZE = 16 * MIB


@pytest.mark.fw
@pytest.mark.mode
def test_l20_open_file_outlives_the_driver(open_client: Callable[[], Client], npu: Npu, device: Device) -> None:
    """L20: a file with a mapped heap that is open when the driver goes is refused everything, and can be closed later.

    Source: amdxdna_pci_drv.c, amdxdna_remove(), drm_dev_unplug().
    """
    heap = Heap(open_client())
    with works("first chunk, mapped, and a DEV BO"):
        heap.add_chunk()
        heap.create_dev(MIB)
    with unbound(device):
        with refused(errno.ENODEV, "BO when the driver is gone"):
            heap.client.create_bo(BoType.SHARE, 4096)
        heap.client.close()
        heap.release()
    serves(open_client, "after the driver came back")


@pytest.mark.fw
@pytest.mark.parametrize("hangs", [False, True], ids=["idle", "command in flight"])
@pytest.mark.mode
def test_l21_context_outlives_the_driver(
    open_client: Callable[[], Client], npu: Npu, device: Device, hangs: bool
) -> None:
    """L21: a context, with a command that hangs or without, does not hold the driver up, nor survive it.

    Source: amdxdna_pci_drv.c, amdxdna_remove(); aie2_ctx.c, aie2_hwctx_fini().
    """
    heap = Heap(open_client())
    with works("first chunk and a context"):
        heap.add_chunk()
        worker = Worker(heap)
        if hangs:
            worker.submit(Program().hang())
    with unbound(device):
        assert mailboxes() == 0, "a channel outlives the driver"
        heap.client.close()
        heap.release()
    serves(open_client, "after the driver came back")


@pytest.mark.fw
@pytest.mark.mode
def test_l21_firmware_is_told_before_the_driver_goes(
    open_client: Callable[[], Client], npu: Npu, device: Device
) -> None:
    """L21: a driver that leaves its device ends the contexts in firmware, and then suspends firmware.

    Source: amdxdna_pci_drv.c, amdxdna_remove(); aie2_pci.c, aie2_hw_stop().
    """
    heap = Heap(open_client())
    with works("first chunk and a context"):
        heap.add_chunk()
        heap.client.create_hwctx()
    since = npu.mark()
    with unbound(device):
        told = [message["name"] for message in npu.messages(since, "DESTROY_CONTEXT", "SUSPEND")]
        heap.client.close()
        heap.release()
    assert told == ["DESTROY_CONTEXT", "SUSPEND"]
    serves(open_client, "after the driver came back")


@pytest.mark.fw
@pytest.mark.mode
def test_l22_dma_buf_outlives_the_driver(open_client: Callable[[], Client], npu: Npu, device: Device) -> None:
    """L22: a dma-buf that is open when the driver goes can be closed later, and only then is its memory given back.

    Source: amdxdna_gem.c, amdxdna_gem_obj_free(); drm_prime.c, drm_gem_dmabuf_export() holds the device.
    """
    before = shared_memory()
    client = open_client()
    with works("SHARE BO, mapped and exported"):
        share = client.create_bo(BoType.SHARE, SIZE)
        client.map_bo(share, SIZE)
        fd = client.export(share)
    client.close()
    with unbound(device):
        assert shared_memory() - before > SIZE // 2, "the memory is gone while the dma-buf is open"
        os.close(fd)
        eventually(lambda: shared_memory() - before < SIZE // 2, "the memory is given back")
    serves(open_client, "after the driver came back")


@pytest.mark.fw
@pytest.mark.mode
def test_l23_unloaded_and_loaded(open_client: Callable[[], Client], npu: Npu, device: Device) -> None:
    """L23: after use the module can be unloaded: nobody holds it; loaded again it works.

    Source: amdxdna_pci_drv.c, module_pci_driver().
    """
    serves(open_client, "before")
    falls_asleep(device)
    options = json.loads(OPTIONS.read_text())
    driver = OPTIONS.parent / "modules" / options["modules"][-1]
    unloaded = subprocess.run(["rmmod", "amdxdna"], capture_output=True, text=True, timeout=60, check=False)
    assert unloaded.returncode == 0, unloaded.stderr
    modules.load(driver, options["parameters"])
    eventually(device.node.exists, "the device node is back")
    serves(open_client, "after the driver came back")


@pytest.mark.spoils
@pytest.mark.fw
@pytest.mark.generations("npu4", "npu5", "npu6")
@pytest.mark.mode
def test_e29_firmware_that_cannot_expand(open_client: Callable[[], Client], npu: Npu, device: Device) -> None:
    """E29: with firmware that does not know ADD_HOST_BUFFER a second chunk and a context do not go together; the
    client is told so, and works on in its first chunk.

    Source: aie2_message.c, aie2_add_host_buf(): AIE2_ADD_HOST_BUFFER_SUPPORT since protocol 6.18.
    """
    try:
        with unbound(device):
            npu.speak("6.12")
        heap = Heap(open_client())
        with works("first chunk and a context"):
            heap.add_chunk()
            worker = Worker(heap)
        with works("second chunk"):
            heap.add_chunk()
        with refused(errno.EOPNOTSUPP, "DEV BO that would announce the second chunk"):
            heap.create_dev(MIB)
        worker.fetch(DEVICE_BASE, 4)
        heap.client.close()
        heap.release()
    finally:
        with unbound(device):
            npu.speak("")
    serves(open_client, "after the driver came back")


# The last two: in 7.3 both use memory that was freed, which may end any test that comes after them.
@pytest.mark.spoils
@pytest.mark.mode
def test_l11_named_share_bo(open_client: Callable[[], Client]) -> None:
    """L11: a SHARE BO that another file opened by its name can be closed there when the first file is gone.

    Source: amdxdna_gem.c, amdxdna_gem_obj_open() notes the first file's client, amdxdna_gem_obj_close() of the last
    file uses it. Memory that was freed is used: the debug kernel says so, the plain one may not.
    """
    before = shared_memory()
    first, other = open_client(), open_client()
    with works("SHARE BO"):
        share = first.create_bo(BoType.SHARE, SIZE)
    opened = 0
    with suppress(OSError):
        opened = other.open_name(first.flink(share))
    first.close()
    if opened:
        other.close_bo(opened)
    other.close()
    eventually(lambda: shared_memory() - before < SIZE // 2, "the memory is given back")


# Last of all: in 7.3 the heap is lost by it, and is found when the driver leaves its device.
@pytest.mark.spoils
@pytest.mark.mode
def test_l11_named_dev_bo(open_client: Callable[[], Client]) -> None:
    """L11: a DEV BO that another file opened by its name does not outlive the heap it lies in: either it cannot be
    opened, or the heap stays until it is closed there, too.

    Source: amdxdna_gem.c, amdxdna_gem_heap_free() uses the client, which amdxdna_client_cleanup() has freed (Linux 7.3;
    mended after it).
    """
    before = shared_memory()
    heap, other = Heap(open_client()), open_client()
    with works("first chunk and a DEV BO"):
        heap.add_chunk()
        dev = heap.create_dev(MIB)
    opened = 0
    with suppress(OSError):
        opened = other.open_name(heap.client.flink(dev))
    heap.client.close()
    if opened:
        other.close_bo(opened)
    other.close()
    eventually(lambda: shared_memory() - before < CHUNK // 4, "the chunk is given back")
    again = Heap(open_client())
    with works("first chunk of a new client and a DEV BO"):
        again.add_chunk()
        again.create_dev(MIB)
