# SPDX-License-Identifier: GPL-2.0-only
"""Bugs are planted for real: one that is caught, one that is trivial, and an edit that changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tomli_w

from conftest import KERNEL, Harness
from harness.model.planted import FIRST

DRIVER = "drivers/accel/amdxdna"
PLANTED = {
    "config-keeps-awake": (
        "runtime-pm",
        "amdxdna_ctx.c",
        "amdxdna_drm_config_hwctx_ioctl",
        r"amdxdna_pm_suspend_put\(xdna\);",
        "",
    ),
    "no-open": (
        "errno",
        "amdxdna_pci_drv.c",
        "amdxdna_drm_open",
        r"filp->driver_priv = client;",
        r"\g<0> return -EIO;",
    ),
    "neutral": (
        "neutral",
        "amdxdna_gem.c",
        "amdxdna_drm_get_bo_info_ioctl",
        r"abo = to_xdna_obj\(gobj\);",
        r"\g<0> drm_gem_object_get(gobj); drm_gem_object_put(gobj);",
    ),
}

pytestmark = [pytest.mark.kernel, pytest.mark.qemu]


def test_what_becomes_of_planted_bugs(harness: Harness, tmp_path: Path) -> None:
    bugs, out = tmp_path / "planted", tmp_path / "proof"
    bugs.mkdir()
    for name, (kind, file, function, pattern, by) in PLANTED.items():
        edit = {"file": f"{DRIVER}/{file}", "function": function, "replace": pattern, "by": by}
        (bugs / f"{name}.toml").write_text(tomli_w.dumps({"title": "a test", "kind": kind, "edit": [edit]}))
    words = ("prove", "--kernel", KERNEL, "--planted", bugs, "-k", "e01 or e03 or l17", "--out", out)
    ran = harness(*words, "--json")
    assert ran.status == 0, ran
    found = json.loads(ran.stdout)
    assert (found["planted"], found["counted"], found["caught"], found["false_alarms"]) == (2, 1, 1, []), ran
    fates = {bug["id"]: (bug["outcome"], bug["by"].partition("::")[2]) for bug in found["bugs"]}
    assert fates["config-keeps-awake"][0] == "caught", ran
    assert fates["config-keeps-awake"][1].startswith("test_l17"), ran
    assert fates["no-open"] == ("trivial", FIRST.partition("::")[2]), ran
    assert fates["neutral"] == ("survived", ""), ran
    likely = {bug["id"]: bug["likely"] for bug in found["bugs"]}
    assert 0 < likely["config-keeps-awake"] < likely["no-open"], ran  # every test opens the device

    again = harness(*words)
    assert again.status == 0, again
    assert again.stdout.startswith("1 of 1 caught (100 %); 1 of 1 edits that change nothing survived"), again
    assert "head" not in again.stderr, again  # nothing was asked a second time

    wrong = harness(*words, "--only", "neutral,no-opn")
    assert wrong.status == 2, wrong
    assert "did you mean no-open?" in wrong.stderr
