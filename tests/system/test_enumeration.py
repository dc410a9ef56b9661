# SPDX-License-Identifier: GPL-2.0-only
"""The enumeration sees a rollback that was lost, and names the call site; it sees a refusal that is not heard, and
names the message. Without either, it is content.
"""

from __future__ import annotations

import pytest

from conftest import KERNEL, Edit, Harness, Plant

LOST_UNPIN = Edit(
    "drivers/accel/amdxdna/amdxdna_ubuf.c",
    r"\tif \(start\)\n\t\tunpin_user_pages\(ubuf->pages, start\);\n(?=\tkvfree\(ubuf->pages\);\nsub_pin)",
    "",
)
DEAF = Edit(
    "drivers/accel/amdxdna/aie2_message.c",
    r"(?<=aie_send_mgmt_msg_wait\(&ndev->aie, &msg\);\n\t\tif \()ret(?=\) \{\n\t\t\tXDNA_ERR\(xdna, \"fw ctx)",
    "ret == -ETIME",
)

pytestmark = [pytest.mark.kernel, pytest.mark.qemu]


def test_a_lost_rollback_is_found_by_call_site(harness: Harness, plant: Plant) -> None:
    """Base is asked as well: only with the edit the test fails."""
    patch = plant("lose a rollback", LOST_UNPIN)
    ran = harness("run", patch, "--kernel", KERNEL, "--suite", "enumeration", "-k", "test_o06_user_memory")
    assert ran.status == 1, ran
    assert ran.report["regressed"] == ["test_enumeration.py::test_o06_user_memory"]
    assert "amdxdna_get_ubuf" in ran.stdout, ran


def test_a_refusal_that_is_not_heard_is_found_by_message(harness: Harness, plant: Plant) -> None:
    """Base is asked as well: only with the edit the test fails."""
    patch = plant("do not hear firmware refuse a chunk", DEAF)
    chosen = "test_o20_expanding_dev_bo and refused"
    ran = harness("run", patch, "--kernel", KERNEL, "--suite", "enumeration", "-k", chosen)
    assert ran.status == 1, ran
    assert ran.report["regressed"] == ["test_messages.py::test_o20_expanding_dev_bo[refused]"]
    assert "ADD_HOST_BUFFER: success instead of EINVAL" in ran.stdout, ran
