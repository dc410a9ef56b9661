# SPDX-License-Identifier: GPL-2.0-only
"""What is counted before and after each test. Collected only: what is a leak is decided on the host.

Must be cheap: it runs at every test. A file that this kernel lacks leaves its keys out. After a test what is more than
before is read again for a while: the driver frees some things in a workqueue.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress

from harness.guest import others
from harness.guest.sysfs import entries, order, read, target

_MEMINFO = re.compile(
    r"^(MemTotal|MemFree|MemAvailable|Shmem|Slab|SUnreclaim|PageTables|KernelStack|VmallocUsed): +(\d+) kB$",
    re.MULTILINE,
)
_PINNED = re.compile(r"^VmPin:\s+(\d+) kB$", re.MULTILINE)
_VMSTAT = re.compile(r"^(nr_foll_pin_acquired|nr_foll_pin_released|oom_kill) (\d+)$", re.MULTILINE)
_AT_HAND = re.compile(r"^ +count: +(\d+)$", re.MULTILINE)
_SLABS = re.compile(
    r"^(drm_\S+|dma_fence\S*|mm_struct|shmem_inode_cache|iommu_iova|dma_buf\S*|vm_area_struct) +(\d+)", re.MULTILINE
)
_FDINFO = re.compile(r"^\S*-(\w+-alloc|total-memory):\s+(\d+)(?: ([KM])iB)?$", re.MULTILINE)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20}


SHRUNK = ("mm_struct", "shmem_inode_cache", "drm_sched_fence")
"""Slabs whose objects are counted one by one: what processors keep at hand, and KASAN in quarantine, is given back
first (Documentation/ABI/testing/sysfs-kernel-slab, shrink)."""
WATCHED = {
    "meminfo.Shmem": 8 << 20,
    "memory.used": 32 << 20,
    "pages.pinned": 0,
    "process.pinned": 0,
    "channels.contexts": 0,
    "module.refcnt": 0,
    "device.runtime_usage": 0,
    **{f"slab.{name}": 0 for name in SHRUNK},
}
"""What is waited for after a test, and by how much it may be more than before."""
SETTLE_SECONDS = 2.0
ADDRESS_SPACES = "slab.mm_struct"
SHARED_FILES = "slab.shmem_inode_cache"
LATE_SECONDS = 15.0
"""That of a process that was killed while a command hung was seen to stay for 2 to 15 s."""
OTHERS = {ADDRESS_SPACES: others.living, SHARED_FILES: others.shared_files}
"""What others have of these, where there are others."""
_TRIES = 5
_POLL_SECONDS = 0.02
_PAGE = os.sysconf("SC_PAGE_SIZE")


def settled(before: dict[str, int], root: str = "/", seconds: float = SETTLE_SECONDS) -> dict[str, int]:
    """The counters, read until nothing that is watched is above ``before``, or for ``seconds``; an address space is
    waited for longer, and so is what others may have a part in."""
    started = time.monotonic()
    patient = {ADDRESS_SPACES} if others.alone(root) else OTHERS.keys()
    while True:
        now = snapshot(root)
        late = grown(before, now)
        if not late or time.monotonic() - started > (max(seconds, LATE_SECONDS) if patient & set(late) else seconds):
            return now
        time.sleep(_POLL_SECONDS)


def grown(before: dict[str, int], now: dict[str, int]) -> list[str]:
    """What is watched and is more than before."""
    return [
        name for name, slack in WATCHED.items() if name in before and name in now and now[name] > before[name] + slack
    ]


def snapshot(root: str = "/") -> dict[str, int]:
    """All counters by name: sizes in bytes, the rest as counts. ``memory.used``: neither available nor shared, nor free
    pages that a processor keeps at hand, which count as free nowhere: tens of MiB after a chunk was freed
    (mm/page_alloc.c, pcp->high_max of Linux 7.3).

    On a machine with other people's processes ``slab.mm_struct`` is what no process lives in, and
    ``slab.shmem_inode_cache`` what nobody can be seen to have: theirs come and go.
    """
    _fold_counts(root)
    _visit_processors()
    _shrink(root)
    found = dict(_counters(root)) if others.alone(root) else _without_others(root)
    # KASAN keeps freed memory for a while, up to a 32nd of all (mm/kasan/quarantine.c): then this says nothing.
    if "meminfo.MemAvailable" in found and "kasan" not in read(f"{root}proc/cmdline"):
        there = found["meminfo.MemAvailable"] + found["meminfo.Shmem"] + found.get("pages.at_hand", 0) * _PAGE
        found["memory.used"] = found["meminfo.MemTotal"] - there
    if "vmstat.nr_foll_pin_acquired" in found:
        found["pages.pinned"] = found["vmstat.nr_foll_pin_acquired"] - found["vmstat.nr_foll_pin_released"]
    return found


def _without_others(root: str) -> dict[str, int]:
    """What others have may change while it is counted: then both are read again."""
    theirs = {name: count(root) for name, count in OTHERS.items()}
    for _ in range(_TRIES):
        found, before = dict(_counters(root)), theirs
        theirs = {name: count(root) for name, count in OTHERS.items()}
        if theirs == before:
            break
    return {name: number - theirs.get(name, 0) for name, number in found.items()}


def shared_memory(root: str = "/") -> int:
    """Bytes of shared memory in the system, which the driver's buffers are made of."""
    return dict(_meminfo(root))["meminfo.Shmem"]


def pinned_pages(root: str = "/") -> int:
    """Pages of user memory that are pinned for devices now, in the whole system."""
    _fold_counts(root)
    counts = dict(_vmstat(root))
    return counts["vmstat.nr_foll_pin_acquired"] - counts["vmstat.nr_foll_pin_released"]


def mailboxes(root: str = "/") -> int:
    """Interrupts of firmware channels: one for management, one for each context."""
    return read(f"{root}proc/interrupts").count("xdna_mailbox")


def _fold_counts(root: str) -> None:
    """Processors keep some counts to themselves; this adds them up (Documentation/admin-guide/sysctl/vm.rst)."""
    with suppress(OSError):
        order(f"{root}proc/sys/vm/stat_refresh", "1")


def _visit_processors() -> None:
    """An idle processor keeps the address space of the process that ran there last, which may have ended long ago
    (Documentation/mm/active_mm.rst); from now on it is ours."""
    mine = os.sched_getaffinity(0)
    for processor in mine:
        os.sched_setaffinity(0, {processor})
    os.sched_setaffinity(0, mine)


def _shrink(root: str) -> None:
    """What processors keep at hand of the slabs that are counted goes back."""
    for name in SHRUNK:
        with suppress(OSError):
            order(f"{root}sys/kernel/slab/{name}/shrink", "1")


def _counters(root: str) -> Iterator[tuple[str, int]]:
    yield from _meminfo(root)
    if zones := read(f"{root}proc/zoneinfo"):
        yield "pages.at_hand", sum(map(int, _AT_HAND.findall(zones)))
    yield from _vmstat(root)
    for name, active in _SLABS.findall(read(f"{root}proc/slabinfo")):
        yield f"slab.{name}", int(active)
    for size in _PINNED.findall(read(f"{root}proc/self/status")):
        yield "process.pinned", int(size) * 1024
    for key, path in (("taint", "proc/sys/kernel/tainted"), ("module.refcnt", "sys/module/amdxdna/refcnt")):
        text = read(root + path)
        if text:
            yield key, int(text)
    yield from _accel(root)
    yield from _files(root)


def _meminfo(root: str) -> Iterator[tuple[str, int]]:
    for name, size in _MEMINFO.findall(read(f"{root}proc/meminfo")):
        yield f"meminfo.{name}", int(size) * 1024


def _vmstat(root: str) -> Iterator[tuple[str, int]]:
    for name, count in _VMSTAT.findall(read(f"{root}proc/vmstat")):
        yield f"vmstat.{name}", int(count)


def _accel(root: str) -> Iterator[tuple[str, int]]:
    """Runtime-PM references, where the kernel shows them (CONFIG_PM_ADVANCED_DEBUG); firmware channels, and those that
    are not the device's own: a device that is awake has one for management."""
    folder = f"{root}sys/class/accel"
    channels, awake = mailboxes(root), 0
    for entry in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        text = read(f"{folder}/{entry}/device/power/runtime_usage")
        if text:
            yield "device.runtime_usage", int(text)
        awake += read(f"{folder}/{entry}/device/power/runtime_status").strip() != "suspended"
    yield "interrupts.xdna_mailbox", channels
    yield "channels.contexts", max(0, channels - awake)


def _files(root: str) -> Iterator[tuple[str, int]]:
    """Open files of this process on the device, and what they use."""
    folder = f"{root}proc/self/fd"
    names = [name for name in entries(folder) if target(f"{folder}/{name}").startswith("/dev/accel/")]
    yield "files.open", len(names)
    sums: dict[str, int] = {}
    for name in names:
        for key, size, unit in _FDINFO.findall(read(f"{root}proc/self/fdinfo/{name}")):
            sums[key] = sums.get(key, 0) + int(size) * _UNITS[unit]
    for key, size in sums.items():
        yield f"files.{key}", size
