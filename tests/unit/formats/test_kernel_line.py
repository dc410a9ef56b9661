# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

from dataclasses import replace

import pytest

from harness.formats.kernel_line import GUARDS, kernel_line
from harness.model.kernel import Profile
from harness.model.lab_host import LabHost

HOST = LabHost(
    release="6.12.43+deb13-amd64",
    cmdline="BOOT_IMAGE=/boot/vmlinuz-6.12.43+deb13-amd64 root=UUID=0f-1 ro console=ttyS0,115200 quiet crashkernel=1M",
    rootfs="ext4",
    partuuid="8d3c-01",
    systemd=True,
    kexec=True,
    grub=None,
    boot_partition="",
    initramfs="",
    watchdog="",
    free={},
    installed=(),
    known_good="",
    clock=0.0,
    users=(),
    left=(),
    tainted=0,
)


def test_the_root_is_a_partition_that_the_kernel_finds_by_itself() -> None:
    line = kernel_line(HOST, Profile.PLAIN)
    assert not line.initramfs
    wanted = "root=PARTUUID=8d3c-01 rootwait rootfstype=ext4 ro console=ttyS0,115200 crashkernel=1M"
    assert line.text == f"{wanted} {GUARDS}"


def test_a_root_on_more_than_a_partition_needs_the_machines_own_initramfs() -> None:
    line = kernel_line(replace(HOST, partuuid=""), Profile.PLAIN)
    assert line.initramfs
    assert line.text.startswith("root=UUID=0f-1 ro ")


@pytest.mark.parametrize(
    ("root", "initramfs"),
    [("/dev/nvme0n1p2", False), ("PARTUUID=1-1", False), ("/dev/mapper/vg-root", True), ("LABEL=lab", True)],
)
def test_what_the_machine_itself_says_is_kept(root: str, initramfs: bool) -> None:
    line = kernel_line(replace(HOST, partuuid="", cmdline=f"root={root} rootwait"), Profile.PLAIN)
    assert line.initramfs is initramfs
    assert f"root={root} " in line.text
    assert line.text.split().count("rootwait") == (0 if initramfs else 1)


def test_a_panic_ends_in_a_boot_whatever_the_machine_says() -> None:
    line = kernel_line(replace(HOST, cmdline="root=/dev/sda1 panic=0 oops=panic quiet"), Profile.PLAIN).text.split()
    assert [word for word in line if word.startswith("panic=")] == ["panic=10"]


def test_the_jobs_own_words_are_the_last() -> None:
    assert kernel_line(HOST, Profile.DEBUG, "panic=30  loglevel=8").text.endswith("log_buf_len=16M panic=30 loglevel=8")
