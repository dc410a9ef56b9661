# SPDX-License-Identifier: GPL-2.0-only
"""Counters from files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

from harness.guest import counters

FILES = {
    "proc/meminfo": "MemTotal:  1000 kB\nMemAvailable:    900 kB\nShmem:         64 kB\nHugePages_Total: 0\n",
    "proc/vmstat": "nr_free_pages 5\nnr_foll_pin_acquired 7\nnr_foll_pin_released 4\n",
    "proc/slabinfo": "slabinfo - version: 2.1\nmm_struct          12     30   1088\nkmalloc-8   1 2 3\n",
    "proc/interrupts": "  CPU0\n 24: 1 xdna_mailbox.0\n 25: 0 xdna_mailbox.1\n",
    "proc/sys/kernel/tainted": "512\n",
    "sys/module/amdxdna/refcnt": "1\n",
    "sys/class/accel/accel0/device/power/runtime_usage": "2\n",
    "proc/self/fdinfo/5": "pos: 0\namdxdna_accel_driver-heap-alloc:\t64 KiB\ndrm-total-memory:\t2 MiB\n",
}


def test_snapshot(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "proc/self/fd").mkdir()
    (tmp_path / "proc/self/fd/5").symlink_to("/dev/accel/accel0")
    (tmp_path / "proc/self/fd/6").symlink_to("/dev/null")
    root = f"{tmp_path}/"
    assert counters.snapshot(root) == {
        "meminfo.MemAvailable": 900 << 10,
        "meminfo.Shmem": 64 << 10,
        "vmstat.nr_foll_pin_acquired": 7,
        "vmstat.nr_foll_pin_released": 4,
        "slab.mm_struct": 12,
        "interrupts.xdna_mailbox": 2,
        "taint": 512,
        "module.refcnt": 1,
        "accel0.runtime_usage": 2,
        "files.open": 1,
        "files.heap-alloc": 64 << 10,
        "files.total-memory": 2 << 20,
    }
    assert counters.shared_memory(root) == 64 << 10
    assert counters.pinned_pages(root) == 3


def test_missing_files_leave_their_keys_out(tmp_path: Path) -> None:
    assert counters.snapshot(f"{tmp_path}/") == {"interrupts.xdna_mailbox": 0, "files.open": 0}


def test_this_machine() -> None:
    assert counters.snapshot()["meminfo.MemAvailable"] > 1 << 20
