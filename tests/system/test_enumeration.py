# SPDX-License-Identifier: GPL-2.0-only
"""The enumeration of allocations sees a rollback that was lost, and names the call site; without it, it is content."""

from __future__ import annotations

import pytest

from conftest import KERNEL, Edit, Harness, Plant

LOST_UNPIN = Edit(
    "drivers/accel/amdxdna/amdxdna_ubuf.c",
    r"\tif \(start\)\n\t\tunpin_user_pages\(ubuf->pages, start\);\n(?=\tkvfree\(ubuf->pages\);\nsub_pin)",
    "",
)

pytestmark = [pytest.mark.kernel, pytest.mark.qemu]


def test_a_lost_rollback_is_found_by_call_site(harness: Harness, plant: Plant) -> None:
    """Base is asked as well: only with the edit the test fails."""
    patch = plant("lose a rollback", LOST_UNPIN)
    ran = harness("run", patch, "--kernel", KERNEL, "--suite", "enumeration", "-k", "test_o06_user_memory")
    assert ran.status == 1, ran
    assert ran.report["regressed"] == ["test_enumeration.py::test_o06_user_memory"]
    assert "amdxdna_get_ubuf" in ran.stdout, ran
