# SPDX-License-Identifier: GPL-2.0-only
"""The debug kernel's detectors, all in one run: each speaks about the test that provoked it, and about no other.

One run on the kernel tree of the presubmit tests, whose debug kernel the cache keeps.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli_w

from conftest import Harness

DRIVER = "drivers/accel/amdxdna"
KASAN = "volatile char *gone = kmalloc(64, GFP_KERNEL); kfree((void *)gone); (void)gone[3];"
KMEMLEAK = "for (int i = 0; i < 64; i++) WARN_ON(!kmalloc(1000, GFP_KERNEL));"
"""Many: what a slab's processor cache still points to by chance, kmemleak takes for used."""
LOCKDEP = (
    "static DEFINE_MUTEX(xdna_a); static DEFINE_MUTEX(xdna_b); "
    "mutex_lock(&xdna_a); mutex_lock(&xdna_b); mutex_unlock(&xdna_b); mutex_unlock(&xdna_a); "
    "mutex_lock(&xdna_b); mutex_lock(&xdna_a); mutex_unlock(&xdna_a); mutex_unlock(&xdna_b);"
)
UBSAN = "volatile int by = 40; volatile int one = 1; one <<= by;"
DMA_API = "dma_unmap_single(dev->dev, 0x1000, 64, DMA_TO_DEVICE);"
HEAP = "args->type == AMDXDNA_BO_DEV_HEAP"
PLANTED = {
    "test_e01_first_chunk": (f"{HEAP} && args->size == (64 << 20)", UBSAN, "UBSAN"),
    "test_e02_wrong_chunk_size[0]": ("args->size == 0", KASAN, "KASAN"),
    "test_e02_wrong_chunk_size[4096]": (
        "args->type == AMDXDNA_BO_DEV_HEAP && args->size == 4096",
        KMEMLEAK,
        "KMEMLEAK",
    ),
    "test_e02_wrong_chunk_size[67112960]": ("args->size == 67112960", LOCKDEP, "LOCKDEP"),
    "test_e07_no_heap": ("args->type == AMDXDNA_BO_DEV && xa_empty(&client->dev_heap_xa)", DMA_API, "DMA_API"),
}

pytestmark = [pytest.mark.kernel, pytest.mark.qemu]


def test_each_detector_names_its_test_and_silences_no_other(
    harness: Harness, kernel_tree: Path, tmp_path: Path
) -> None:
    code = " ".join(f"if ({when}) {{ {what} }}" for when, what, _ in PLANTED.values())
    function = {"file": f"{DRIVER}/amdxdna_gem.c", "function": "amdxdna_drm_create_bo_ioctl"}
    change = {**function, "replace": r"if \(args->flags\)", "by": rf"{code} \g<0>"}
    edit = tmp_path / "detectors.toml"
    edit.write_text(tomli_w.dumps({"title": "a mistake for each detector", "edit": [change]}))
    kernel = f"git:{kernel_tree}#base"
    words = ("--profile", "debug", "--kmemleak", "--edit", "tail-trace", "--edit", edit)
    ran = harness("run", "--kernel", kernel, *words, "-k", "e01 or e02_wrong or e07")
    answers = {r["id"].partition("::")[2]: r for r in ran.report["lanes"]["head"]["results"] if "::" in r["id"]}
    kinds = {name: sorted({f["kind"] for f in answer["findings"]}) for name, answer in answers.items()}
    assert kinds == {name: [kind] for name, (_, _, kind) in PLANTED.items()}, ran
    assert not any(answer["disarmed"] for answer in answers.values()), "each test began with all detectors on"
