# SPDX-License-Identifier: GPL-2.0-only
"""Tell the NPU where the guest's IOMMU keeps its device table: ``python -m harness.host.device_table QMP CONTROL``.

vfio-user carries no PASID, so the emulated NPU walks the guest's tables itself; where they begin only QEMU knows.
Run by qemu.sh, where no harness stands beside the guest.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from harness.errors import InfraError
from harness.host.npu_control import NpuControl
from harness.host.qmp import Monitor
from harness.host.vm import DEVICE_TABLE_MASK, DEVICE_TABLE_REGISTER

WAIT_SECONDS = 300.0
FOLLOW_SECONDS = 0.3
"""Less than any kernel takes from its IOMMU to a driver."""


def device_table(monitor: Monitor) -> int:
    """Physical address of the device table; 0 until the guest's IOMMU driver has set it."""
    return monitor.read_physical(DEVICE_TABLE_REGISTER) & DEVICE_TABLE_MASK


def follow(qmp: Path, npu: NpuControl, ended: threading.Event) -> None:
    """Tell the NPU whenever a machine that reboots has another table, until ``ended`` or one of both is gone. The
    monitor is this thread's own: those of one thread share an event loop."""
    known = 0
    with suppress(InfraError):
        monitor = Monitor(qmp)
        while not ended.wait(FOLLOW_SECONDS):
            base = device_table(monitor)
            if base and base != known:
                npu.request("device-table", base=base)
            known = base
        monitor.close()


def main(qmp: str, control: str) -> int:
    """Wait until the guest has set up its IOMMU, then tell the NPU."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            monitor = Monitor(Path(qmp))
            base = device_table(monitor)
            monitor.close()
        except InfraError:
            base = 0
        if base:
            NpuControl(Path(control)).request("device-table", base=base)
            return 0
        time.sleep(1)
    print(f"the guest did not set up its IOMMU within {WAIT_SECONDS:.0f} s", file=sys.stderr)
    return 3


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
