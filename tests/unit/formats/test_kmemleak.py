# SPDX-License-Identifier: GPL-2.0-only
"""/sys/kernel/debug/kmemleak as findings."""

from __future__ import annotations

from harness.formats.kmemleak import unreferenced
from harness.model.finding import Kind

LOST = """\
unreferenced object 0xffff888105a3c000 (size 1024):
  comm "python3", pid 312, jiffies 4294701234
  hex dump (first 32 bytes):
    00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f  ................
    75 6e 72 65 66 65 72 65 6e 63 65 64 20 6f 62 6a  unreferenced obj
  backtrace (crc 8fdb9d11):
    kmemleak_alloc+0x4a/0x90
    __kmalloc_cache_noprof+0x25e/0x380
    drm_gem_shmem_create+0x1a/0x60 [drm_shmem_helper]
    aie2_hwctx_init+0x4c/0x8f0 [amdxdna]
    amdxdna_drm_create_hwctx_ioctl+0x1a3/0x330 [amdxdna]
    drm_ioctl_kernel+0xa9/0x100
"""
KERNEL = """\
unreferenced object (percpu) 0x607f3a1c1000 (size 64):
  comm "swapper/0", pid 1, jiffies 4294667300
  hex dump (first 32 bytes on cpu 1):
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................
  backtrace (crc 0):
    pcpu_alloc_noprof+0x1f0/0x3a0
    fib6_net_init+0x22/0x50
"""
BARE = 'unreferenced object 0xffff888105a3d000 (size 96):\n  comm "evil \x1b[31m", pid 7, jiffies 4294701235\n'


def test_the_fingerprint_begins_with_the_first_function_of_a_module() -> None:
    (finding,) = unreferenced(LOST)
    assert finding.kind is Kind.KMEMLEAK
    assert finding.frames[:2] == ("drm_gem_shmem_create", "aie2_hwctx_init")
    assert finding.fingerprint == (
        "KMEMLEAK:drm_gem_shmem_create:aie2_hwctx_init:amdxdna_drm_create_hwctx_ioctl:drm_ioctl_kernel"
    )
    assert finding.title == "kmemleak: unreferenced object (size 1024), allocated in drm_gem_shmem_create"
    assert finding.text == LOST.rstrip()
    helper = LOST.replace("    drm_gem_shmem_create+0x1a/0x60 [drm_shmem_helper]\n", "    kstrdup+0x1a/0x60\n")
    assert unreferenced(helper)[0].fingerprint.startswith("KMEMLEAK:aie2_hwctx_init:")


def test_without_a_module_the_whole_stack_counts_and_without_a_stack_the_size() -> None:
    kernel, bare = unreferenced(KERNEL + BARE)
    assert kernel.fingerprint == "KMEMLEAK:pcpu_alloc_noprof:fib6_net_init"
    assert bare.fingerprint == "KMEMLEAK:size_96"
    assert "\x1b" not in bare.text


def test_the_same_place_is_one_finding_and_another_is_another() -> None:
    again = LOST.replace("5a3c000", "5a3e000").replace("4294701234", "4294701999")
    found = unreferenced(LOST + KERNEL + again)
    assert [(f.count, f.kind) for f in found] == [(2, Kind.KMEMLEAK), (1, Kind.KMEMLEAK)]


def test_what_is_older_is_somebody_elses() -> None:
    assert [f.frames[0] for f in unreferenced(KERNEL + LOST, since=4294701234)] == ["drm_gem_shmem_create"]
    assert unreferenced(KERNEL + LOST, since=4294701235) == []


def test_a_text_that_is_cut_off_still_names_the_object() -> None:
    whole = unreferenced(LOST)[0]
    assert unreferenced(LOST[: LOST.index("    amdxdna_drm")])[0].frames == whole.frames[:2]
    assert unreferenced(LOST[:60])[0].fingerprint == "KMEMLEAK:size_1024"
    assert unreferenced(LOST[:20]) == unreferenced("") == unreferenced("kmemleak: disabled\n") == []
