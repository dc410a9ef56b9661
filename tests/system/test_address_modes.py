# SPDX-License-Identifier: GPL-2.0-only
"""What depends on the address mode holds in every one; the default mode is what the other system tests run in."""

from __future__ import annotations

import pytest

from conftest import KERNEL, Harness

pytestmark = [pytest.mark.kernel, pytest.mark.qemu]


@pytest.mark.parametrize("mode", ["force-iova", "carveout"])
def test_the_kernel_is_good_and_enough_was_asked(harness: Harness, mode: str) -> None:
    ran = harness("run", "--kernel", KERNEL, "--address-mode", mode, "--suite", "mode")
    assert ran.status == 0, ran
    passed = [r["id"] for r in ran.report["lanes"]["head"]["results"] if r["outcome"] == "PASS" and "::" in r["id"]]
    assert len(passed) >= 20
    own = {"force-iova": "test_l32_addresses_are_reused", "carveout": "test_l31_carveout_is_set_once"}[mode]
    assert any(own in test for test in passed)
