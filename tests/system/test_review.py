# SPDX-License-Identifier: GPL-2.0-only
"""A review of real mails, with real guests: what the second version of the series mended is said, with its test."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import KERNEL, Harness

LEAKS = "test_recovery.py::test_o22_firmware_refuses_the_third_chunk"


def test_the_leak_of_the_first_version_is_gone(harness: Harness, real_series: Path, tmp_path: Path) -> None:
    out = tmp_path / "review"
    ran = harness(
        *("review", real_series / "expandable-heap.v2.mbox", "--previous", real_series / "expandable-heap.v1.mbox"),
        *("--kernel", KERNEL, "--base-patch", real_series / "expandable-heap.reverse.patch"),
        *("-k", "o22_firmware_refuses_the_third or e18", "--out", out),
    )
    assert ran.status == 0, ran
    told = json.loads((out / "review.json").read_text())
    assert told["previous"]["verdict"] == "BAD"
    assert [(c["test"], c["turn"]) for c in told["previous"]["changed"]] == [(LEAKS, "better")]
    assert "leak of bytes of shared memory" in told["previous"]["changed"][0]["findings"][0]
    assert any("release_expanded_heap" in line for line in told["previous"]["range_diff"])
    assert "Reviewed-by: Mario Limonciello <mario.limonciello@amd.com>" in told["previous"]["carried"]["new"]
    assert told["standing"]["merged"] == "in the tree"
    assert told["report"]["own_lines"]["run"] > 0
    assert {c["name"] for c in told["checks"] if c["state"] == "complains"} == set()
    assert f"better: {LEAKS}: FAIL" in ran.stdout
