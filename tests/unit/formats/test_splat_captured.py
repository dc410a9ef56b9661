# SPDX-License-Identifier: GPL-2.0-only
"""Consoles that our own runs left, whole: what a person would call a splat is found, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.formats.kmemleak import unreferenced
from harness.formats.splat import find_splats
from harness.job import read_known
from harness.model.finding import Kind

PROJECT = Path(__file__).parents[3]
CONSOLES = PROJECT / "tests" / "data" / "console"


def captured(name: str) -> str:
    return (CONSOLES / name).read_text(errors="replace")


def test_a_panic_that_a_patch_planted_in_probe() -> None:
    (finding,) = find_splats(captured("panic-at-probe.log"))
    assert finding.kind is Kind.PANIC
    assert finding.title.endswith("planted: panic at probe")
    assert finding.fingerprint.startswith("PANIC:amdxdna_probe:")


def test_the_oops_of_7_1_when_the_heap_handle_is_closed() -> None:
    findings = find_splats(captured("oops-heap-handle-closed-7.1.13.log"))
    oops = [f for f in findings if f.kind is Kind.OOPS]
    assert len(oops) == 1
    assert "NULL pointer dereference" in oops[0].title


BOOTED = "Run /init as init process"
"""Missing where the guest was restored."""


@pytest.mark.parametrize("name", sorted(p.name for p in CONSOLES.glob("*.log") if BOOTED in captured(p.name)))
def test_the_boot_before_is_clean(name: str) -> None:
    before = captured(name).partition(BOOTED)[0]
    assert len(before.splitlines()) > 100
    assert find_splats(before) == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("kasan-at-probe-7.3.4.log", Kind.KASAN),  # the use after free behind a trace point
        ("warn-user-table-7.3.4.log", Kind.WARNING),
        ("oops-mailbox-channel-7.3.4.log", Kind.OOPS),
        ("lockdep-expanding-7.3.4.log", Kind.LOCKDEP),
        ("lockdep-dev-bo-address-7.3.4.log", Kind.LOCKDEP),
        ("dma-api-segment-7.3.4.log", Kind.DMA_API),
        ("warn-iommu-at-exit-7.3.4.log", Kind.WARNING),
    ],
)
def test_what_is_known_of_7_3(name: str, kind: Kind) -> None:
    """jobs/known.toml has an entry for each: a change of how findings are made would unhide it."""
    (finding,) = find_splats(captured(name))
    assert finding.kind is kind
    assert any(entry.explains(finding) for entry in read_known(PROJECT / "jobs" / "known.toml"))


def test_six_splats_that_a_patch_planted_in_probe() -> None:
    """One after the other in one boot of 7.3: a WARN() twice, a reference count, an address manager, a loop without
    preemption, a thread that never wakes, a BUG()."""
    found = find_splats(captured("planted-at-probe-7.3.4.log"))
    probe = "amdxdna_probe:pci_device_probe:really_probe"
    assert [(f.fingerprint, f.count) for f in found] == [
        (f"WARNING:planted_warning:{probe}:__driver_probe_device", 2),
        (f"REFCOUNT:planted_refcount:{probe}:__driver_probe_device", 1),
        (f"DRM_MM:drm_mm_takedown:planted_drm_mm:{probe}", 1),
        ("RCU_STALL:planted_loop:amdxdna_probe:amdxdna_pci_driver_init", 1),
        ("HUNG_TASK:planted_sleep:planted_thread", 1),
        # BUG() before the function has a stack frame of its own: the unwinder does not believe its caller
        ("BUG:planted_bug:pci_device_probe:really_probe:__driver_probe_device:driver_probe_device", 1),
    ]
    assert [f.title for f in found[1:3]] == [
        "refcount_t: addition on 0; use-after-free.",
        "Memory manager not clean during takedown.",
    ]


def test_what_kmemleak_lists_after_a_planted_leak() -> None:
    """As read from debugfs: what the kernel lost at boot, and two of the buffers that a planted bug lost."""
    boot, planted = unreferenced((CONSOLES / "planted-kmemleak-7.3.4.txt").read_text())
    assert "ramfs_init_fs_context" in boot.fingerprint
    assert planted.fingerprint.startswith("KMEMLEAK:amdxdna_drm_create_bo_ioctl:drm_ioctl_kernel")
    assert planted.count == 2


def test_a_shift_that_a_planted_bug_made() -> None:
    (finding,) = find_splats(captured("planted-ubsan-7.3.4.log"))
    assert finding.kind is Kind.UBSAN
    assert finding.fingerprint.startswith("UBSAN:amdxdna_drm_create_bo_ioctl:drm_ioctl_kernel")
