# SPDX-License-Identifier: GPL-2.0-only
"""Counters from files as the kernel writes them."""

from __future__ import annotations

import mmap
import os
import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.guest import counters, others
from harness.model.leak import SENSORS

FILES = {
    "proc/meminfo": "MemTotal:  1000 kB\nMemAvailable:    900 kB\nShmem:         64 kB\nHugePages_Total: 0\n",
    "proc/zoneinfo": "  pagesets\n    cpu: 0\n              count:    2\n              high:     9\n    cpu: 1\n"
    "              count:    3\n",
    "proc/vmstat": "nr_free_pages 5\nnr_foll_pin_acquired 7\nnr_foll_pin_released 4\n",
    "proc/slabinfo": "slabinfo - version: 2.1\nmm_struct          12     30   1088\nkmalloc-8   1 2 3\n",
    "proc/interrupts": "  CPU0\n 24: 1 xdna_mailbox.0\n 25: 0 xdna_mailbox.1\n",
    "proc/sys/kernel/tainted": "512\n",
    "sys/module/amdxdna/refcnt": "1\n",
    "sys/class/accel/accel0/device/power/runtime_usage": "2\n",
    "sys/class/accel/accel0/device/power/runtime_status": "active\n",
    "sys/kernel/slab/mm_struct/shrink": "",
    "proc/self/status": "VmPin:\t      16 kB\n",
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
        "meminfo.MemTotal": 1000 << 10,
        "meminfo.MemAvailable": 900 << 10,
        "memory.used": 16 << 10,
        "pages.at_hand": 5,
        "process.pinned": 16 << 10,
        "channels.contexts": 1,
        "meminfo.Shmem": 64 << 10,
        "vmstat.nr_foll_pin_acquired": 7,
        "vmstat.nr_foll_pin_released": 4,
        "slab.mm_struct": 12,
        "interrupts.xdna_mailbox": 2,
        "taint": 512,
        "module.refcnt": 1,
        "device.runtime_usage": 2,
        "pages.pinned": 3,
        "files.open": 1,
        "files.heap-alloc": 64 << 10,
        "files.total-memory": 2 << 20,
    }
    assert (tmp_path / "sys/kernel/slab/mm_struct/shrink").read_text() == "1"
    assert counters.shared_memory(root) == 64 << 10
    assert counters.pinned_pages(root) == 3


def test_on_a_machine_with_others_their_address_spaces_are_theirs(tmp_path: Path) -> None:
    (tmp_path / "proc/1").mkdir(parents=True)
    (tmp_path / "proc/slabinfo").write_text(FILES["proc/slabinfo"])
    for pid, statm in ((1, "5000 10 1 1 0 1 0"), (2, "0 0 0 0 0 0 0"), (77, "900 1 1 1 0 1 0"), (78, "")):
        (tmp_path / f"proc/{pid}").mkdir(exist_ok=True)
        (tmp_path / f"proc/{pid}/statm").write_text(statm)
    root = f"{tmp_path}/"
    (tmp_path / "proc/1/exe").symlink_to("/usr/lib/systemd/systemd")
    assert counters.snapshot(root)["slab.mm_struct"] == 12 - 2
    (tmp_path / "proc/1/exe").unlink()
    (tmp_path / "proc/1/exe").symlink_to(Path("/proc/self/exe").readlink())
    assert counters.snapshot(root)["slab.mm_struct"] == 12


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with systemd and 50 files of shared memory, 7 in each tmpfs."""
    (tmp_path / "proc/1/fd").mkdir(parents=True)
    (tmp_path / "proc/slabinfo").write_text("slabinfo - version: 2.1\nshmem_inode_cache          50     60   700\n")
    (tmp_path / "proc/1/exe").symlink_to("/usr/lib/systemd/systemd")
    (tmp_path / "proc/1/root").symlink_to(tmp_path)
    monkeypatch.setattr("os.statvfs", lambda folder: SimpleNamespace(f_files=100, f_ffree=93))
    return tmp_path


def files_of_nobody(machine: Path) -> int:
    return counters.snapshot(f"{machine}/")["slab.shmem_inode_cache"]


def test_on_a_machine_with_others_what_is_in_a_tmpfs_is_theirs(shared: Path) -> None:
    """systemctl mask --runtime makes three such files."""
    (shared / "run/lock").mkdir(parents=True)
    mounts = "none /proc proc rw 0 0\ntmpfs /run tmpfs rw 0 0\nudev /run/lock devtmpfs rw 0 0\ntmpfs /no tmpfs rw 0 0\n"
    (shared / "proc/1/mounts").write_text(mounts)
    assert files_of_nobody(shared) == 50 - 7, "one file system, seen twice"
    (shared / "proc/1/exe").unlink()
    (shared / "proc/1/exe").symlink_to(Path("/proc/self/exe").readlink())
    assert files_of_nobody(shared) == 50, "all processes are ours"


def test_on_a_machine_with_others_nameless_files_that_they_map_are_theirs(shared: Path) -> None:
    """A desktop's windows."""
    (shared / "proc/7").mkdir()
    (shared / "proc/7/maps").write_text(
        "7f00-7f01 rw-s 00000000 00:01 812                        /memfd:wayland-cursor (deleted)\n"
        "7f01-7f02 rw-s 00000000 00:01 813                        /dev/zero (deleted)\n"
        "7f02-7f03 rw-s 00000000 00:06 99                         /dev/accel/accel0\n"
        "7f03-7f04 rw-p 00000000 00:00 0\n"
    )
    assert files_of_nobody(shared) == 50, "a thread of the kernel"
    (shared / "proc/7/exe").symlink_to("/usr/bin/gnome-shell")
    assert files_of_nobody(shared) == 50 - 2
    (shared / "proc/1/maps").write_text((shared / "proc/7/maps").read_text())
    assert files_of_nobody(shared) == 50 - 2, "the same ones"


def test_nameless_files_of_this_machine_are_seen() -> None:
    """systemd keeps its state in one while it reads its units again."""
    held = os.memfd_create("state")
    try:
        assert os.fstat(held).st_ino in set(others.nameless(others.programs()))
        with mmap.mmap(-1, 4096):
            anonymous = re.search(r"(\d+) +/dev/zero \(deleted\)", Path("/proc/self/maps").read_text())
            assert anonymous
            assert int(anonymous[1]) in set(others.nameless(others.programs()))
    finally:
        os.close(held)


def test_what_others_have_changed_meanwhile_is_read_again(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = iter([5, 6, 6])
    monkeypatch.setitem(counters.OTHERS, counters.SHARED_FILES, lambda root: next(theirs))
    assert files_of_nobody(shared) == 50 - 6


def test_what_others_may_have_a_part_in_is_waited_for_longer(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([9, 9, 9, 8])
    monkeypatch.setattr(counters, "snapshot", lambda root: {counters.SHARED_FILES: next(readings)})
    before = {counters.SHARED_FILES: 8}
    assert counters.settled(before, f"{shared}/", seconds=0.0) == before


def test_missing_files_leave_their_keys_out(tmp_path: Path) -> None:
    assert counters.snapshot(f"{tmp_path}/") == {
        "interrupts.xdna_mailbox": 0,
        "channels.contexts": 0,
        "files.open": 0,
    }


def test_with_kasan_free_memory_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(FILES["proc/meminfo"])
    (tmp_path / "proc/cmdline").write_text("console=ttyS0 kasan_multi_shot")
    assert "memory.used" not in counters.snapshot(f"{tmp_path}/")


def test_this_machine() -> None:
    assert counters.snapshot()["meminfo.MemAvailable"] > 1 << 20


def test_what_is_freed_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([{"pages.pinned": 3}, {"pages.pinned": 1}, {"pages.pinned": 0}])
    monkeypatch.setattr(counters, "snapshot", lambda root: next(readings))
    assert counters.settled({"pages.pinned": 0}) == {"pages.pinned": 0}


def test_what_stays_is_waited_for_in_vain_and_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "snapshot", lambda root: {"module.refcnt": 1})
    started = time.monotonic()
    assert counters.settled({"module.refcnt": 0}, seconds=0.1) == {"module.refcnt": 1}
    assert 0.1 <= time.monotonic() - started < 2


def test_an_innocent_test_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waited"))
    before = {"channels.contexts": 0, "meminfo.Shmem": 0, "pages.pinned": 2}
    now = {"channels.contexts": 0, "meminfo.Shmem": 1 << 20, "pages.pinned": 0}
    monkeypatch.setattr(counters, "snapshot", lambda root: now)
    assert counters.settled(before) == now


def test_every_sensor_of_the_host_is_waited_for() -> None:
    in_the_guest = {sensor.counter for sensor in SENSORS if not sensor.counter.startswith("npu.")}
    assert set(counters.WATCHED) == in_the_guest
