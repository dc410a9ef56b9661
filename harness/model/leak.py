# SPDX-License-Identifier: GPL-2.0-only
"""Which difference between the counters before and after a test is a leak. Pure.

The guest counts when the test's files are closed, and again for a while where something is more than before: what the
driver frees in a workqueue is gone by then (harness/guest/counters.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.model.finding import Finding, Kind


@dataclass(frozen=True)
class Sensor:
    """A counter that must not be higher after a test than before. ``slack``: by how much it may be. ``implied``: by the
    sensor of that name, which then speaks for both."""

    name: str
    counter: str
    what: str
    slack: int = 0
    implied: str = ""


SENSORS = (
    # A heap chunk is 64 MiB of shared memory; page cache and other processes stay far below half of one.
    Sensor("shmem", "meminfo.Shmem", "bytes of shared memory", slack=32 << 20),
    Sensor("pinned", "pages.pinned", "pinned pages of user memory"),
    Sensor("locked", "process.pinned", "bytes that count as locked by the process (VmPin)"),
    Sensor("memory", "memory.used", "bytes of memory that is not shared", slack=32 << 20),
    Sensor("mm", "slab.mm_struct", "address spaces of processes"),
    Sensor("shmem-file", "slab.shmem_inode_cache", "files of shared memory", implied="shmem"),
    Sensor("fence", "slab.drm_sched_fence", "fences of the scheduler"),
    Sensor("mailbox", "channels.contexts", "firmware channels of contexts"),
    Sensor("firmware-context", "npu.contexts", "contexts in firmware"),
    Sensor("module", "module.refcnt", "references to the module"),
    Sensor("runtime-pm", "device.runtime_usage", "references that keep the device awake"),
)


def leaks(before: Mapping[str, int], after: Mapping[str, int]) -> list[Finding]:
    """A finding for each sensor that shows more than before; a counter that this kernel lacks shows nothing."""
    higher = {
        sensor.name: sensor
        for sensor in SENSORS
        if sensor.counter in before
        and sensor.counter in after
        and after[sensor.counter] > before[sensor.counter] + sensor.slack
    }
    return [
        _finding(sensor, before[sensor.counter], after[sensor.counter])
        for sensor in higher.values()
        if sensor.implied not in higher
    ]


def _finding(sensor: Sensor, before: int, after: int) -> Finding:
    title = f"leak of {sensor.what}"
    return Finding(
        Kind.LEAK, title, f"{Kind.LEAK}:{sensor.name}", f"{title}: {before} before the test, {after} after it"
    )
