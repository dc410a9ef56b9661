# SPDX-License-Identifier: GPL-2.0-only
"""A hunt finds a planted mistake from a fixed seed and shrinks it to what it takes; on the driver as it is, the same
walks find nothing new.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli_w

from conftest import KERNEL, Harness
from harness.model.script import read

SEED = "30"
PLANTED = {
    "file": "drivers/accel/amdxdna/amdxdna_ubuf.c",
    "function": "amdxdna_ubuf_release",
    "replace": r"atomic64_sub\(ubuf->nr_pages, &ubuf->mm->pinned_vm\);",
    "by": "",
}

pytestmark = [pytest.mark.kernel, pytest.mark.qemu]


def test_a_planted_mistake_is_found_and_shrunk(harness: Harness, tmp_path: Path) -> None:
    edit, out = tmp_path / "planted.toml", tmp_path / "hunt"
    edit.write_text(tomli_w.dumps({"title": "pages stay counted as locked", "edit": [PLANTED]}))
    words = ("hunt", "--kernel", KERNEL, "--seed", SEED, "--edit", edit)
    ran = harness(*words, "--walks", "1", "--out", out)
    assert ran.status == 1, ran
    found = {path.read_text().partition("\n")[0]: path.parent for path in out.glob("found-*/README.md")}
    folder = found["# LEAK:locked"]
    script = (folder / "script.jsonl").read_text()
    assert [one.do for one in read(script)] == ["open", "user"], ran
    assert "leak of bytes that count as locked" in (folder / "splat.txt").read_text()
    assert (folder / "console.log").exists()
    again = harness(*words, "--script", folder / "script.jsonl", "--out", tmp_path / "again")
    assert again.status == 1, again
    assert "LEAK:locked (3 of 3)" in again.stdout, again


def test_the_driver_as_it_is(harness: Harness, tmp_path: Path) -> None:
    ran = harness("hunt", "--kernel", KERNEL, "--seed", SEED, "--walks", "4", "--out", tmp_path / "hunt")
    assert ran.status == 0, ran
    assert "new: nothing" in ran.stdout
    assert "bo: ok" in ran.stdout, "the walks reached nothing"
