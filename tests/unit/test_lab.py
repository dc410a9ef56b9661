# SPDX-License-Identifier: GPL-2.0-only
"""What guests run on is in the keys of what they said, and of what was saved of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.host.accel import Accelerator
from harness.host.qemu import Qemu
from harness.lab import Lab
from harness.model.kernel import Kernel, Profile
from harness.model.variant import Variant
from harness.saved_guest import kernel_key


def test_another_qemu_of_the_same_path_restores_nothing_that_the_old_one_saved() -> None:
    qemu = Qemu(("/usr/bin/qemu-system-x86_64",), "11.1.3", "the system's", "old")
    lab = Lab(qemu, Accelerator("tcg", "", None, None), Path("/root.erofs"), Path("/initrd"))
    upgraded = replace(lab, qemu=replace(qemu, key="new"))
    kernel = Kernel("k", "7.3.4", Profile.PLAIN, Path("/bz"), (), Path("/build"), Path("/log"))
    one, two = (kernel_key(each.machine(kernel, Variant()), b"") for each in (lab, upgraded))
    assert one != two
