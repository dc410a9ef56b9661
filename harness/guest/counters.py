# SPDX-License-Identifier: GPL-2.0-only
"""What is counted before and after each test. Collected only: what is a leak is decided on the host.

Must be cheap: it runs twice per test. A file that this kernel lacks leaves its keys out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

MEMINFO = (
    "MemFree",
    "MemAvailable",
    "Shmem",
    "Slab",
    "SUnreclaim",
    "PageTables",
    "KernelStack",
    "VmallocUsed",
)
VMSTAT = ("nr_foll_pin_acquired", "nr_foll_pin_released", "oom_kill")
SLABS = ("drm_", "dma_fence", "mm_struct", "shmem_inode", "iommu_iova", "dma_buf", "vm_area_struct")
FDINFO = ("heap-alloc", "internal-alloc", "external-alloc", "total-memory")


def snapshot(root: Path = Path("/")) -> dict[str, int]:
    """All counters by name: sizes in bytes, the rest as counts."""
    return dict(_counters(root))


def _counters(root: Path) -> Iterator[tuple[str, int]]:
    for line in _lines(root / "proc/meminfo"):
        key, _, rest = line.partition(":")
        if key in MEMINFO:
            yield f"meminfo.{key}", int(rest.split()[0]) * 1024
    for line in _lines(root / "proc/vmstat"):
        key, _, rest = line.partition(" ")
        if key in VMSTAT:
            yield f"vmstat.{key}", int(rest)
    for line in _lines(root / "proc/slabinfo"):
        if line.startswith(SLABS):
            name, active = line.split()[:2]
            yield f"slab.{name}", int(active)
    mailboxes = sum("xdna_mailbox" in line for line in _lines(root / "proc/interrupts"))
    yield "interrupts.xdna_mailbox", mailboxes
    yield from _numbers(root, "proc/sys/kernel/tainted", "taint")
    yield from _numbers(root, "sys/module/amdxdna/refcnt", "module.refcnt")
    for entry in sorted((root / "sys/class/accel").glob("accel*")):
        yield from _numbers(entry, "device/power/runtime_usage", f"{entry.name}.runtime_usage")
    yield from _files(root)


def _files(root: Path) -> Iterator[tuple[str, int]]:
    """Open files of this process on the device, and what they use."""
    files = 0
    sums: dict[str, int] = dict.fromkeys(FDINFO, 0)
    folder = root / "proc/self/fd"
    for name in os.listdir(folder) if folder.is_dir() else ():
        try:
            if not os.readlink(folder / name).startswith("/dev/accel/"):
                continue
        except OSError:
            continue
        files += 1
        for key, size in _fdinfo(_lines(root / "proc/self/fdinfo" / name)):
            sums[key] += size
    yield "files.open", files
    for key, size in sums.items():
        yield f"files.{key}", size


def _fdinfo(lines: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Sizes in bytes from lines such as ``amdxdna_accel_driver-heap-alloc:  64 KiB``."""
    for line in lines:
        key, _, rest = line.partition(":")
        for suffix in FDINFO:
            if key.endswith(suffix):
                number, *unit = rest.split()
                yield suffix, int(number) * {"KiB": 1 << 10, "MiB": 1 << 20}.get("".join(unit), 1)


def _numbers(root: Path, path: str, key: str) -> Iterator[tuple[str, int]]:
    for line in _lines(root / path):
        yield key, int(line)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
