# SPDX-License-Identifier: GPL-2.0-only
"""A real guest counts which lines of the driver its tests run."""

from conftest import KERNEL, Harness
from harness.formats import gcov

GEM = "drivers/accel/amdxdna/amdxdna_gem.c"


def test_the_report_says_which_lines_ran(harness: Harness) -> None:
    ran = harness("run", "--kernel", KERNEL, "--coverage", "-k", "allocator")
    assert ran.status == 0, ran
    found, lost, added = gcov.load((ran.out / "coverage.json").read_text())
    assert (lost, added) == ([], {})
    assert found[GEM].functions["amdxdna_drm_create_bo_ioctl"] > 0
    assert found[GEM].functions["amdxdna_gem_prime_export"] == 0  # no test of that file exports anything
    assert "coverage:" in ran.stdout
