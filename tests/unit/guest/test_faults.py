# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

from pathlib import Path

import pytest

from harness.guest.faults import SILENT, Faults, functions, next_step, place, site_of

STACK = """FAULT_INJECTION: forcing a failure.
name failslab, interval 1, probability 0, space 0, times -1
Call Trace:
 <TASK>
 dump_stack_lvl+0x4f/0x60
 should_fail_ex+0x105/0x110
 ? amdxdna_sure_of_nothing+0x1/0x2 [amdxdna]
 __kmalloc_cache_noprof+0x2d/0x1e0
 amdxdna_gem_create_obj+0x26/0x80 [amdxdna]
 amdxdna_drm_create_bo_ioctl+0x111/0x6c0 [amdxdna]
 drm_ioctl_kernel+0xa0/0xf0""".splitlines()


def test_the_innermost_frame_of_the_driver_is_the_site() -> None:
    assert site_of(STACK) == "amdxdna_gem_create_obj+0x26 > __kmalloc_cache_noprof"


def test_a_failure_without_a_stack_is_named_as_such() -> None:
    assert site_of(STACK[:4]) == SILENT


def test_a_function_ends_where_the_next_begins() -> None:
    text = "ffff20 t b\t[amdxdna]\nffff10 t a\t[amdxdna]\nffff30 d data\t[amdxdna]\nffff12 t other\t[snd]\n"
    assert functions(text) == {"a": (0xFFFF10, 0xFFFF20)}
    assert functions("ff01 T x\nff03 t y\nff02 t z\t[amdxdna]\n", "") == {"x": (0xFF01, 0xFF03)}


def test_steps_grow_only_behind_the_first_ones() -> None:
    assert next_step(1) == 2
    assert next_step(63) == 64
    assert next_step(64) == 96


def test_a_place_is_the_same_in_every_build() -> None:
    assert place("amdxdna_drm_create_share_bo.constprop.0+0xbb > drm_gem_shmem_create") == (
        "amdxdna_drm_create_share_bo > drm_gem_shmem_create"
    )
    assert place(SILENT) == SILENT


def test_a_kernel_that_cannot_do_it_is_not_asked(tmp_path: Path) -> None:
    with pytest.raises(pytest.skip.Exception, match="cannot let allocations fail: not asked"):
        Faults(debugfs=tmp_path)
