# SPDX-License-Identifier: GPL-2.0-only
"""A lab machine that boots the kernels under test: a whole Debian with GRUB, kexec and a watchdog (vm-images/lab-host).

Nobody helps it: whatever a kernel does, the machine must be in its own again afterwards; the next test here finds it
as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import KERNEL, Edit, Harness, Plant, Ran
from harness.host.lab_host import NAME, Hardware, LabHost
from harness.host.ssh import Connection
from harness.host.ssh_config import CONFIG
from harness.host.store import Store

TARGET = ("--kernel", KERNEL, "--target", f"ssh:{NAME}", "--boot-seconds", "600")
PANIC = Edit(
    "drivers/accel/amdxdna/amdxdna_gem.c",
    r"int amdxdna_drm_sync_bo_ioctl\([^{]*?\)\n\{\n",
    r'\g<0>\tpanic("planted by a test");\n',
)
HANG = Edit(PANIC.file, PANIC.pattern, r"\g<0>\tlocal_irq_disable();\n\twhile (1)\n\t\tcpu_relax();\n")
NO_BOOT = Edit("init/main.c", r"static int __ref kernel_init\([^{]*?\)\n\{\n", r'\g<0>\tpanic("planted: no boot");\n')
UP_SECONDS = 600.0
KDUMP = """
file=/etc/default/kdump-tools release=$(uname -r)
sed -i -e "s|^KDUMP_KERNEL=.*|KDUMP_KERNEL=/boot/vmlinuz-$release|" $file
sed -i -e "s|^KDUMP_INITRD=.*|KDUMP_INITRD=/boot/initrd.img-$release|" $file
systemctl enable kdump-tools 2>&1
"""

pytestmark = [pytest.mark.kernel, pytest.mark.qemu, pytest.mark.lab]


class Lab:
    """The machine, and how the harness reaches it."""

    def __init__(self, host: LabHost) -> None:
        self.host = host
        self.env = {CONFIG: str(host.ssh_config)}

    def log_in(self) -> Connection:
        return self.host.log_in(UP_SECONDS)

    def says(self, script: str) -> str:
        there = self.log_in()
        try:
            return there.run(script, 60)[1].strip()
        finally:
            there.close()

    def is_well(self) -> None:
        """In its own kernel, and nothing of ours but what is installed."""
        assert "-xdna-" not in self.says("uname -r")
        assert self.says("ls -d /tmp/xdna-* 2>/dev/null") == ""
        assert self.says("ls /boot/grub/custom.cfg 2>/dev/null") == ""
        assert self.says("grub-editenv list | sed -n 's/^next_entry=//p'") == ""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with LabHost(Hardware.prepare(Store()), tmp_path_factory.mktemp("lab-host")) as host:
        yield Lab(host)


def outcomes(ran: Ran, lane: str = "head") -> dict[str, str]:
    return {r["id"]: r["outcome"] for r in ran.report["lanes"][lane]["results"] if "::" in r["id"]}


def found(ran: Ran, test: str, lane: str = "head") -> set[str]:
    return {outcome for name, outcome in outcomes(ran, lane).items() if f"_{test}_" in name}


def test_a_kernel_is_installed_booted_once_and_left_again(harness: Harness, lab: Lab) -> None:
    ran = harness("run", *TARGET, "-k", "e01 or l01 or e23", env=lab.env)
    assert ran.status == 0, ran
    assert found(ran, "e01") == found(ran, "l01") == {"PASS"}, ran
    assert "is booted by kexec (the watchdog runs on)" in ran.stdout + ran.stderr, ran
    release = ran.report["lanes"]["head"]["kernel"]
    lab.is_well()
    assert lab.says("ls /boot/xdna-harness") == f"vmlinuz-{release}"
    assert lab.says("cat /var/lib/xdna-harness/known-good") == lab.says("uname -r")
    assert release not in lab.says("ls /boot")


def test_grub_boots_it_once(harness: Harness, lab: Lab) -> None:
    ran = harness("run", *TARGET, "--boot", "grub", "-k", "e01", env=lab.env)
    assert ran.status == 0, ran
    assert found(ran, "e01") == {"PASS"}, ran
    assert "is booted by grub" in ran.stdout + ran.stderr, ran
    lab.is_well()


def test_one_that_was_left_in_a_kernel_is_brought_home(harness: Harness, lab: Lab) -> None:
    ran = harness("run", *TARGET, "--leave", "-k", "e01", env=lab.env)
    assert ran.status == 0, ran
    assert lab.says("uname -r") == ran.report["lanes"]["head"]["kernel"], "and no repair has sent it away"
    mended = harness("hosts", "--repair", NAME, env=lab.env)
    assert "is in a kernel under test" in mended.stderr, mended
    assert "is HEALTHY: answers again after a reboot" in mended.stdout, mended
    lab.is_well()


def test_a_panic_costs_one_test(harness: Harness, lab: Lab, plant: Plant) -> None:
    ran = harness("run", plant("it panics", PANIC), *TARGET, "-k", "e01 or e31_sync_across or l01", env=lab.env)
    assert ran.status == 1, ran
    assert ran.report["verdict"] == "BAD"
    assert all("e31" in test for test in ran.report["regressed"]), ran
    assert found(ran, "e31") == {"LOST"}
    assert found(ran, "e01") == found(ran, "l01") == {"PASS"}, "the rest goes on"
    assert found(ran, "e31", "base") == {"PASS"}
    lost = [event for event in ran.records("head") if event.get("event") == "lost"]
    assert all("planted by a test" in event["evidence"] for event in lost), "what ERST kept"
    lab.is_well()


def test_a_hang_with_interrupts_off_is_ended_by_the_watchdog(harness: Harness, lab: Lab, plant: Plant) -> None:
    words = ("-k", "e01 or e31_sync_across or l01", "--boot-parameters", "nmi_watchdog=0 nosoftlockup")
    ran = harness("run", plant("it hangs", HANG), *TARGET, *words, env=lab.env)
    assert ran.status == 1, ran
    assert found(ran, "e31") == {"LOST"}, ran
    assert found(ran, "e01") == found(ran, "l01") == {"PASS"}, "the rest goes on"
    lab.is_well()


def test_a_kernel_that_does_not_boot_is_bad(harness: Harness, lab: Lab, plant: Plant) -> None:
    ran = harness("run", plant("no boot", NO_BOOT), *TARGET, "-k", "e01", env=lab.env)
    assert ran.status == 1, ran
    assert ran.report["verdict"] == "BAD"
    stage = next(r for r in ran.records("head") if r.get("id") == "stage/boot")
    assert stage["outcome"] == "LOST"
    assert re.search(r"came back with its own kernel", stage["evidence"])
    assert found(ran, "e01", "base") == {"PASS"}
    lab.is_well()


def test_where_no_kernel_boots_nobody_knows(harness: Harness, lab: Lab, plant: Plant, tmp_path: Path) -> None:
    ran = harness("run", plant("it panics", PANIC), *TARGET, "--boot-parameters", "init=/nowhere", env=lab.env)
    assert ran.status == 3, ran
    assert ran.report["verdict"] == "UNKNOWN"
    lab.is_well()


def test_what_a_crash_kernel_wrote_down_is_fetched(harness: Harness, lab: Lab, plant: Plant) -> None:
    """No console, and nothing in ERST: a kernel that starts another one when it panics has no time for that."""
    lab.says(KDUMP)
    words = ("-k", "e31_sync_across", "--boot-parameters", "crashkernel=256M")
    ran = harness("run", plant("it panics", PANIC), *TARGET, *words, env=lab.env)
    assert ran.status == 1, ran
    assert found(ran, "e31") == {"LOST"}, ran
    lost = [r for r in ran.report["lanes"]["head"]["results"] if r["outcome"] == "LOST"]
    assert {finding["kind"] for result in lost for finding in result["findings"]} == {"PANIC"}, ran
    (dump,) = lab.says("ls -d /var/crash/*/").split()
    assert any(dump.rstrip("/") in note for note in ran.report["notes"]), ran
    lab.says(f"rm -rf {dump}; systemctl disable kdump-tools")
    lab.is_well()
