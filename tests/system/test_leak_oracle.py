# SPDX-License-Identifier: GPL-2.0-only
"""Each sensor of the leak oracle has a planted leak that only it sees: the test itself says yes.

XDNA_HARNESS_INNOCENT=200 asks an innocent test as often as that, in guests of its own choice, without a false alarm.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import tomli_w

from conftest import KERNEL, Harness

DRIVER = "drivers/accel/amdxdna"
PLANTED = {
    "shmem": (
        "amdxdna_pci_drv.c",
        "amdxdna_client_cleanup",
        r"xa_for_each\(&client->dev_heap_xa, heap_id, heap\)\s+drm_gem_object_put\(to_gobj\(heap\)\);",
        "(void)heap; (void)heap_id;",
        "test_e01",
    ),
    "shmem-file": (
        "amdxdna_gem.c",
        "amdxdna_drm_create_bo_ioctl",
        r"drm_gem_object_put\(to_gobj\(abo\)\);\n\s*return ret;",
        "if (ret || args->type != AMDXDNA_BO_SHARE) drm_gem_object_put(to_gobj(abo)); return ret;",
        "test_l26",
    ),
    "memory": (
        "amdxdna_pci_drv.c",
        "amdxdna_drm_open",
        r"filp->driver_priv = client;",
        r"for (int i = 0; i < 16; i++) if (!__get_free_pages(GFP_KERNEL, 10)) break; \g<0>",
        "test_e02_wrong",
    ),
    "mm": ("amdxdna_pci_drv.c", "amdxdna_client_cleanup", r"mmdrop\(client->mm\);", "", "test_l03 and nothing"),
    "fence": ("aie2_ctx.c", "aie2_job_release", r"dma_fence_put\(job->out_fence\);", ";", "test_e33"),
    "locked": (
        "amdxdna_ubuf.c",
        "amdxdna_ubuf_release",
        r"atomic64_sub\(ubuf->nr_pages, &ubuf->mm->pinned_vm\);",
        "",
        "test_l25",
    ),
    "firmware-context": (
        "aie2_message.c",
        "aie2_destroy_context",
        r"ret = aie2_destroy_context_req\(ndev, hwctx->fw_ctx_id\);",
        "ret = 0;",
        "test_e33",
    ),
    "pinned": (
        "amdxdna_ubuf.c",
        "amdxdna_ubuf_release",
        r"unpin_user_pages\(ubuf->pages, ubuf->nr_pages\);",
        "",
        "test_o14",
    ),
    "mailbox": (
        "aie2_message.c",
        "aie2_destroy_context",
        r"xdna_mailbox_stop_channel\(hwctx->priv->mbox_chann\);\n(.*\n)\s*xdna_mailbox_free_channel\(.*\);",
        r"\1",
        "test_e11",
    ),
    "module": (
        "amdxdna_pci_drv.c",
        "amdxdna_drm_open",
        r"filp->driver_priv = client;",
        r"__module_get(THIS_MODULE); \g<0>",
        "test_e02_wrong",
    ),
    "runtime-pm": (
        "amdxdna_ctx.c",
        "amdxdna_drm_config_hwctx_ioctl",
        r"amdxdna_pm_suspend_put\(xdna\);",
        "",
        "test_l17",
    ),
}

pytestmark = [pytest.mark.kernel, pytest.mark.qemu]


@pytest.mark.parametrize("sensor", PLANTED)
def test_a_planted_leak_that_only_one_sensor_sees(harness: Harness, tmp_path: Path, sensor: str) -> None:
    file, function, pattern, by, test = PLANTED[sensor]
    edit = tmp_path / "leak.toml"
    change = {"file": f"{DRIVER}/{file}", "function": function, "replace": pattern, "by": by}
    edit.write_text(tomli_w.dumps({"title": "a leak", "edit": [change]}))
    ran = harness("run", "--kernel", KERNEL, "--edit", edit, "-k", test)
    assert ran.status == 1, ran
    answers = [r for r in ran.report["lanes"]["head"]["results"] if "::" in r["id"]]
    found = {finding["fingerprint"] for answer in answers for finding in answer["findings"]}
    assert found == {f"LEAK:{sensor}"}, ran
    assert all(answer["evidence"].startswith("leak of ") for answer in answers if answer["outcome"] == "FAIL")


@pytest.mark.skipif("XDNA_HARNESS_INNOCENT" not in os.environ, reason="a false alarm in 200: asked by hand")
def test_an_innocent_test_raises_no_alarm(harness: Harness) -> None:
    for number in range(int(os.environ["XDNA_HARNESS_INNOCENT"])):
        ran = harness("run", "--kernel", KERNEL, "--fresh", "-k", "test_e11 or test_l24")
        assert ran.status == 0, f"time {number + 1}: {ran}"
