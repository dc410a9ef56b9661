# SPDX-License-Identifier: GPL-2.0-only
"""Memory that was set aside at boot, for devices that reach neither a process's addresses nor an IOMMU's.

It is given to the driver once, by debugfs, and is gone with it: a driver that comes back is given it again.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.drm.client import Client
from harness.drm.device import Device
from harness.drm.heap import CHUNK, MIB, Heap
from harness.drm.structs import BoType
from harness.guest.binding import unbound
from harness.guest.counters import snapshot
from harness.guest.expect import refused, works

pytestmark = [pytest.mark.modes("carveout"), pytest.mark.mode]
OPENINGS = 200
"""Of 1000 in the catalogue: what stays of one opening stays of each."""


def settings(device: Device) -> Path:
    """The file "size@address"."""
    return Path("/sys/kernel/debug/accel") / device.address / "carveout"


@contextmanager
def given_again(device: Device) -> Iterator[None]:
    """The driver leaves its device in the block and comes back without carveout memory, which it gets at the end."""
    memory = settings(device).read_text()
    try:
        yield
    finally:
        settings(device).write_text(memory)


@pytest.mark.quick
def test_l31_carveout_is_set_once(device: Device) -> None:
    """L31: carveout memory is given to the driver once; a second time is refused and changes nothing.

    Source: amdxdna_cbuf.c, amdxdna_carveout_init().
    """
    path = settings(device)
    before = path.read_text()
    with refused(errno.EBUSY, "setting the carveout again"):
        path.write_text("0x1000000@0x40000000")
    assert path.read_text() == before


@pytest.mark.quick
def test_l31_carveout_memory_is_returned(device: Device) -> None:
    """L31: buffers in carveout memory give their ranges back: many times its size fits, one after the other.

    Source: amdxdna_cbuf.c, amdxdna_cbuf_release().
    """
    for number in range(12):
        client = Client.open(device.node)
        with works(f"SHARE BO of 128 MiB, number {number + 1}"):
            client.create_bo(BoType.SHARE, 2 * CHUNK)
        client.close()


@pytest.mark.root
def test_l34_no_way_to_address(device: Device, open_client: Callable[[], Client]) -> None:
    """L34: without PASID, IOVA and carveout the device cannot be opened, and nothing stays of the attempt.

    Source: amdxdna_pci_drv.c, amdxdna_drm_open(), "PASID unavailable and carveout not configured".
    """
    with given_again(device):
        with unbound(device):
            pass
        with refused(errno.EINVAL, "opening the device without carveout memory"):
            Client.open(device.node)
        before = snapshot()
        for number in range(OPENINGS):
            with refused(errno.EINVAL, f"opening {number + 1}"):
                Client.open(device.node)
        after = snapshot()
    for name in ("module.refcnt", "files.open", "slab.mm_struct"):
        assert after.get(name, 0) <= before.get(name, 0) + 2, f"{name}: {before[name]}, now {after[name]}"
    assert after["meminfo.MemAvailable"] > before["meminfo.MemAvailable"] - 16 * MIB
    heap = Heap(open_client())
    with works("first chunk and a DEV BO when the carveout is given again"):
        heap.add_chunk()
        heap.create_dev(MIB)


@pytest.mark.root
def test_l22_dma_buf_outlives_the_carveout(device: Device, open_client: Callable[[], Client]) -> None:
    """L22: a dma-buf in carveout memory that is open when the driver goes can be closed later.

    Source: amdxdna_cbuf.c, amdxdna_cbuf_release() follows the device to its carveout; nobody holds either (Linux 7.3).
    """
    client = open_client()
    with works("SHARE BO, exported"):
        fd = client.export(client.create_bo(BoType.SHARE, MIB))
    client.close()
    with given_again(device), unbound(device):
        os.close(fd)
    with works("opening the device when the driver came back"):
        open_client()
