# SPDX-License-Identifier: GPL-2.0-only
"""From a mail to a verdict, with real make, real QEMU and the real driver: who must act, and why."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conftest import KERNEL, Edit, Harness, Plant, Ran
from harness.job import Expectation, read_toml
from harness.model.tree import Source

DRIVER = "drivers/accel/amdxdna"
EXPECTED = read_toml(Path(__file__).parents[2] / "patches" / "expandable-heap" / "expect.toml", Expectation).fixed
PANIC = Edit(
    f"{DRIVER}/amdxdna_pci_drv.c",
    r"static int amdxdna_probe\([^{]*?\)\n\{\n",
    r'\g<0>\tpanic("planted: panic at probe");\n',
)
HANG = Edit(
    f"{DRIVER}/amdxdna_gem.c",
    r"int amdxdna_drm_sync_bo_ioctl\([^{]*?\)\n\{\n",
    r"\g<0>\tlocal_irq_disable();\n\tfor (;;)\n\t\tcpu_relax();\n",
)
NO_COMPILE = Edit(f"{DRIVER}/amdxdna_gem.c", r"\Z", "\nint planted_error(void) { return planted_name; }\n")
HARMLESS = Edit(f"{DRIVER}/aie2_pm.c", r"\Z", "\nint xdna_test(int x);\nint xdna_test(int x)\n{\n\treturn x;\n}\n")
MIB = 1 << 20
OPENS = "test_e01 or test_l07 or test_e31"
ONE_SYNC = "test_e01 or test_e31_sync_across"

pytestmark = [pytest.mark.kernel, pytest.mark.qemu]


def measured(ran: Ran, test: str, name: str) -> list[float]:
    """What a test of test_measures.py measured on base and on head."""
    number = next(n for n in ran.report["measures"] if (n["test"], n["name"]) == (f"test_measures.py::{test}", name))
    return [number["base"]["value"], number["head"]["value"]]


def exactly_expected(ran: Ran, found: list[str], without: str) -> None:
    """The tests of expect.toml, all of them. The lane ``without`` the series has races that a later fix took away, too:
    a test in which the kernel itself complained there may stand beside them."""
    assert set(EXPECTED) <= set(found), ran
    answers = {r["id"]: r for r in ran.report["lanes"][without]["results"] if r["attempt"] == 1}
    assert [test for test in set(found) - set(EXPECTED) if not answers[test]["findings"]] == [], ran


def last_line(ran: Ran) -> str:
    return ran.stdout.strip().splitlines()[-1]


def test_series_on_a_base_without_it_is_good_and_fixes_exactly_what_it_should(
    harness: Harness, real_series: Path
) -> None:
    reverse = real_series / "expandable-heap.reverse.patch"
    ran = harness("run", real_series / "expandable-heap.v2.mbox", "--kernel", KERNEL, "--base-patch", reverse)
    assert ran.status == 0, ran
    assert last_line(ran) == f"{ran.out}: GOOD"
    exactly_expected(ran, ran.report["fixed"], "base")
    assert ran.report["regressed"] == []
    held = measured(ran, "test_idle_client", "shared memory with its first heap")
    assert held == [128, 64], "an idle client that may need 96 MiB"
    for trace in ("onnxruntime-classifier", "litert-segmentation", "pytorch-language"):
        base, head = measured(ran, f"test_trace[{trace}]", "heap before the first tensor")
        assert base >= 2 * head == 2 * 64 * MIB, trace
    assert measured(ran, "test_heap_never_shrinks", "shared memory kept") == [128, 128]
    assert measured(ran, "test_messages", "DEV BO beyond 64 MiB: ADD_HOST_BUFFER") == [0, 1]


def test_taking_the_series_out_is_bad_and_breaks_exactly_the_same(harness: Harness, real_series: Path) -> None:
    ran = harness("run", real_series / "expandable-heap.reverse.patch", "--kernel", KERNEL)
    assert ran.status == 1, ran
    assert last_line(ran) == f"{ran.out}: BAD"
    exactly_expected(ran, ran.report["regressed"], "head")


def test_a_real_series_is_good_and_mends_what_is_known(harness: Harness, real_series: Path) -> None:
    ran = harness("run", real_series / "forward-01-hold-cu-bo-refs.mbox", "--kernel", KERNEL)
    assert ran.status == 0, ran
    assert ran.report["verdict"] == "GOOD"
    assert (
        ran.report["fixed"] == ran.report["mended"] == ["test_submission.py::test_l30_compute_unit_closed_while_asleep"]
    )


def test_does_not_compile(harness: Harness, plant: Plant) -> None:
    ran = harness("run", plant("break the build", NO_COMPILE), "--kernel", KERNEL)
    assert ran.status == 1, ran
    assert re.search(r"amdxdna_gem\.c:\d+: .*planted_name", ran.stdout), ran
    assert ran.report["regressed"] == ["stage/build"]


def test_panics_at_module_load(harness: Harness, plant: Plant, source: Source) -> None:
    """The stack has file and line, in the driver and in the kernel."""
    ran = harness("run", plant("panic at probe", PANIC), "--kernel", KERNEL, "-k", OPENS)
    assert ran.status == 1, ran
    assert ran.report["regressed"] == ["stage/probe"]
    assert "planted: panic at probe" in ran.stdout
    text = (source.path / PANIC.file).read_text()
    found = re.search(PANIC.pattern, text, re.S)
    assert found
    planted = text[: found.end()].count("\n") + 1
    assert re.search(rf" amdxdna_probe\+\S+ \[amdxdna\] \({PANIC.file}:{planted}\)$", ran.stdout, re.M), ran
    (probe,) = (r for r in ran.report["lanes"]["head"]["results"] if r["id"] == "stage/probe")
    frames = {frame["frame"].partition("+")[0]: frame["at"] for frame in probe["findings"][0]["frames"]}
    assert frames["amdxdna_probe"] == [{"function": "amdxdna_probe", "file": PANIC.file, "line": planted}]
    assert frames["driver_attach"][-1]["file"] == "drivers/base/dd.c"
    assert frames["entry_SYSCALL_64_after_hwframe"][-1]["file"] == "arch/x86/entry/entry_64.S"


def test_hangs_in_a_test_with_interrupts_off(harness: Harness, plant: Plant, tmp_path: Path) -> None:
    job = tmp_path / "hang.toml"
    job.write_text(f'kernel = "{KERNEL}"\ntest_seconds = 10\nselect = "{ONE_SYNC}"\n')
    ran = harness("run", plant("hang in sync", HANG), "--job", job)
    assert ran.status == 1, ran
    lost = [r for r in ran.report["lanes"]["head"]["results"] if r["outcome"] == "LOST"]
    assert {r["id"] for r in lost} == set(ran.report["regressed"])
    assert "test_e31" in ran.stdout
    assert "amdxdna_drm_sync_bo_ioctl" in lost[0]["evidence"]
    assert {r["outcome"] for r in ran.report["lanes"]["head"]["results"] if "test_e01" in r["id"]} == {"PASS"}


def test_an_edit_is_on_every_lane(harness: Harness, plant: Plant, tmp_path: Path) -> None:
    """What both lanes have is nobody's fault; without a control it is the kernel's."""
    edit = tmp_path / "forget-usage.toml"
    edit.write_text(
        'title = "heap usage is never given back"\n[[edit]]\nfunction = "amdxdna_gem_heap_free"\n'
        f'file = "{DRIVER}/amdxdna_gem.c"\nreplace = \'client->heap_usage -= abo->mem\\.size;\'\nby = ""\n'
    )
    words = ("--kernel", KERNEL, "-k", "test_e18_accounting", "--edit", edit)
    alone = harness("run", *words)
    assert alone.status == 1, alone
    assert "forget-usage, on every lane: heap usage is never given back" in alone.stdout
    both = harness("run", plant("harmless", HARMLESS), *words)
    assert both.report["regressed"] == [], both
    assert {r["outcome"] for r in both.report["lanes"]["base"]["results"] if "test_e18_accounting" in r["id"]} == {
        "FAIL"
    }
