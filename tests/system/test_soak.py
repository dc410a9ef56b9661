# SPDX-License-Identifier: GPL-2.0-only
"""A load that lasts, on the emulated NPU: what its sensors would say is tested without a guest (tests/unit/guest)."""

from __future__ import annotations

import pytest

from conftest import KERNEL, Harness

pytestmark = [pytest.mark.kernel, pytest.mark.qemu]
SECONDS = 8


def test_a_soak_goes_on_for_half_of_its_time_and_counts_its_rounds(harness: Harness) -> None:
    ran = harness("run", "--kernel", KERNEL, "--suite", "soak", "--test-seconds", str(SECONDS), "--fresh")
    assert ran.status == 0, ran
    (soak,) = [r for r in ran.report["lanes"]["head"]["results"] if "::" in r["id"]]
    assert soak["outcome"] == "PASS"
    assert soak["seconds"] >= SECONDS / 2
    assert soak["measures"]["rounds"]["value"] > 1
