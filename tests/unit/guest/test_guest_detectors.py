# SPDX-License-Identifier: GPL-2.0-only
"""Which detectors still listen, read from a made-up /proc and /sys."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.guest import detectors, kmemleak

STATS = " lock-classes:                         1530 [max: 8192]\n debug_locks:                             {}\n"


def root(folder: Path, **files: str) -> str:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return f"{folder}/"


@pytest.mark.parametrize(("value", "on"), [("1", True), ("0", False)])
def test_lockdep_says_whether_it_still_looks(tmp_path: Path, value: str, on: bool) -> None:
    assert detectors.armed(root(tmp_path, proc__lockdep_stats=STATS.format(value))) == {"lockdep": on}


def test_a_kernel_without_detectors_has_none(tmp_path: Path) -> None:
    assert detectors.armed(f"{tmp_path}/") == {}
    detectors.arm_again(f"{tmp_path}/")


def test_kmemleak_that_takes_orders_is_on(tmp_path: Path) -> None:
    assert detectors.armed(root(tmp_path, sys__kernel__debug__kmemleak="")) == {"kmemleak": True}


def test_kmemleak_that_refuses_has_ended_itself(tmp_path: Path) -> None:
    (tmp_path / "kmemleak").mkdir()  # opening it for writing fails, but not because there is none
    assert not kmemleak.working(str(tmp_path / "kmemleak"))


def test_warnings_that_come_once_come_again(tmp_path: Path) -> None:
    detectors.arm_again(root(tmp_path, sys__kernel__debug__clear_warn_once=""))
    assert (tmp_path / "sys/kernel/debug/clear_warn_once").read_text() == "1"


def test_the_kernels_clock_is_in_its_list_of_timers(tmp_path: Path) -> None:
    timers = tmp_path / "timer_list"
    timers.write_text("  .idle_sleeps    : 12\nlast_jiffies   : 4294701230\njiffies: 4294701234\njiffies: 4294701234\n")
    assert kmemleak.now(str(timers)) == 4294701234
    assert kmemleak.now(str(tmp_path / "none")) == 0
