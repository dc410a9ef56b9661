# SPDX-License-Identifier: GPL-2.0-only
"""Two tests of the suite make 7.3 use memory that was freed, which is harmless while nobody has it by then. Here
somebody has."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli_w

from conftest import KERNEL, Harness

pytestmark = [pytest.mark.kernel, pytest.mark.qemu]


def test_a_kernel_that_dies_of_a_known_failure_is_known(harness: Harness, tmp_path: Path) -> None:
    cleanup = {"file": "drivers/accel/amdxdna/amdxdna_pci_drv.c", "function": "amdxdna_client_cleanup"}
    poison = {**cleanup, "replace": r"kfree\(client\)", "by": r"memset(client, 0x6b, sizeof(*client)); \g<0>"}
    edit = tmp_path / "poison.toml"
    edit.write_text(tomli_w.dumps({"title": "clients that were freed are poisoned", "edit": [poison]}))
    ran = harness("run", "--kernel", KERNEL, "--edit", edit, "-k", "l11_named")
    outcomes = {r["id"].partition("::")[2]: r["outcome"] for r in ran.report["lanes"]["head"]["results"]}
    assert outcomes["test_l11_named_share_bo"] == outcomes["test_l11_named_dev_bo"] == "LOST", ran
    assert ran.status == 0, ran
