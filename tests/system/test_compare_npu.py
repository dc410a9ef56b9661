# SPDX-License-Identifier: GPL-2.0-only
"""Two NPUs beside each other, through the real pipeline: what is the same is no difference, what one answers in another
way is found and named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import KERNEL, Edit, Harness, Plant

pytestmark = [pytest.mark.kernel, pytest.mark.qemu]

NO_SYNC = Edit(
    "drivers/accel/amdxdna/amdxdna_gem.c",
    r"int amdxdna_drm_sync_bo_ioctl\([^{]*?\)\n\{\n",
    r"\g<0>\tif (1)\n\t\treturn -EIO;\n",
)
ASKED = ("--kernel", KERNEL, "-k", "e01 or e31")


def test_two_generations_answer_these_alike(harness: Harness, tmp_path: Path) -> None:
    ran = harness(
        "compare-npu", "emulated", "emulated:npu5", *ASKED, "--times", "1", "--out", tmp_path / "both", "--json"
    )
    assert ran.status == 0, ran
    found = json.loads(ran.stdout)
    assert found["asked"] >= 2
    assert found["deaf"] == []
    ends = [
        json.loads(line)
        for path in (tmp_path / "both" / "a-1" / "head").glob("*/results.jsonl")
        for line in path.read_text().splitlines()
        if '"test-end"' in line
    ]
    assert any(end["mailbox"] for end in ends), "nobody listened to the trace points"
    assert any(["CreateBo", 0] in end["calls"] for end in ends)


def test_an_answer_that_one_changes_is_found_and_named(harness: Harness, plant: Plant, tmp_path: Path) -> None:
    """The folder of a traced run stands for the machine it was made on."""
    made = harness("run", plant("sync fails", NO_SYNC), *ASKED, "--traced", "--fresh")
    assert made.status == 1, made
    ran = harness("compare-npu", "emulated", made.out, *ASKED, "--times", "1", "--out", tmp_path / "both", "--json")
    assert ran.status == 1, ran
    found = json.loads(ran.stdout)["differences"]
    assert {difference["test"].partition("::test_")[2][:3] for difference in found} == {"e31"}
    errnos = [difference for difference in found if difference["aspect"] == "errno"]
    assert errnos
    assert all("SyncBo: " in e["first"] and e["second"] == "EIO" for e in errnos), errnos
    assert any("succeeds" in e["first"] for e in errnos), errnos


def test_a_run_that_was_not_traced_says_so(harness: Harness, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "job.toml").write_text(f'kernel = "{KERNEL}"\n')
    ran = harness("compare-npu", "emulated", folder, *ASKED)
    assert ran.status == 2, ran
    assert "was not traced" in ran.stderr
