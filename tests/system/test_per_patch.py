# SPDX-License-Identifier: GPL-2.0-only
"""Every patch of a series: the one that did it is named, wherever it stands and whatever it leaks.

XDNA_HARNESS_CULPRITS=20 (or any number) asks as many of the twenty places as that; a few are enough to land.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conftest import KERNEL, Edit, Harness, mails
from harness.model.tree import Source

DRIVER = "drivers/accel/amdxdna"
HARMLESS = ("aie2_solver.c", "aie2_pm.c", "npu4_regs.c", "aie2_error.c", "amdxdna_sysfs.c", "aie_psp.c")
LEAKS = {
    "a heap chunk at close": Edit(
        f"{DRIVER}/amdxdna_pci_drv.c",
        r"\txa_for_each\(&client->dev_heap_xa, heap_id, heap\)\n\t\tdrm_gem_object_put\(to_gobj\(heap\)\);\n",
        "",
    ),
    "a chunk for each DEV BO that is freed": Edit(
        f"{DRIVER}/amdxdna_gem.c",
        r"(static void\namdxdna_gem_heap_free.*?)\txa_for_each_range\(&client->dev_heap_xa, heap_id, heap,\n"
        r"\s+abo->heap_start_id, abo->heap_end_id\)\n\t\tdrm_gem_object_put\(to_gobj\(heap\)\);\n",
        r"\1",
    ),
    "heap usage": Edit(f"{DRIVER}/amdxdna_gem.c", r"\tclient->heap_usage -= abo->mem.size;\n", ""),
    "a runtime-PM reference": Edit(
        f"{DRIVER}/amdxdna_ctx.c",
        r"(int amdxdna_drm_config_hwctx_ioctl.*?)\tamdxdna_pm_suspend_put\(xdna\);\n",
        r"\1",
    ),
}
SEEN_BY = "test_e18_accounting or test_e19 or test_l09 or test_e26_replay_after_autosuspend"
TOTAL = 5
PLACES = [(leak, place) for place in (3, 1, 5, 2, 4) for leak in LEAKS]
ASKED = int(os.environ.get("XDNA_HARNESS_CULPRITS", "1"))

pytestmark = [pytest.mark.kernel, pytest.mark.qemu]


def harmless(number: int) -> Edit:
    """Code that nobody calls, in a file of its own: the driver is another one, and behaves the same."""
    code = f"\nint xdna_test_{number}(int x);\nint xdna_test_{number}(int x)\n{{\n\treturn x + {number};\n}}\n"
    return Edit(f"{DRIVER}/{HARMLESS[number - 1]}", r"\Z", code)


def series(source: Source, leak: str, place: int, folder: Path) -> Path:
    """Five patches; number ``place`` leaks."""
    patches = [(f"harmless change {n}", [harmless(n)]) for n in range(1, TOTAL + 1)]
    patches[place - 1] = (f"leak {leak}", [LEAKS[leak]])
    path = folder / "series.mbox"
    path.write_text(mails(source, patches))
    return path


@pytest.mark.parametrize(("leak", "place"), PLACES[:ASKED])
def test_the_culprit_is_named(harness: Harness, source: Source, tmp_path: Path, leak: str, place: int) -> None:
    ran = harness("run", series(source, leak, place, tmp_path), "--kernel", KERNEL, "--per-patch", "-k", SEEN_BY)
    assert ran.status == 1, ran
    named = {tuple(culprit["introduced"]) for culprit in ran.report["culprits"]}
    assert named == {(place,)}, ran
    assert {culprit["still"] for culprit in ran.report["culprits"]} == {True}
    assert f"introduced by {place}/{TOTAL}, still there at {TOTAL}/{TOTAL}" in ran.stdout
    assert {culprit["taken_out"] for culprit in ran.report["culprits"]} == {f"without {place}/{TOTAL} it passes"}
