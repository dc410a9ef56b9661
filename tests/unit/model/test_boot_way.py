# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

from dataclasses import replace

import pytest

from harness.model.boot_way import BootWay, choose
from harness.model.came_back import CameBack, Sent, judge
from harness.model.lab_host import Grub, Installed, LabHost
from harness.model.upkeep import KEPT, SPARE_KIB, TMP_KIB, jumped, make_room, skew

GRUB = Grub("/boot/grub", "grub-reboot", once=True, custom=True, plain=True, uuid="1-2", mount="/")
HOST = LabHost(
    release="6.12.1-amd64",
    cmdline="root=UUID=1-2 ro quiet",
    rootfs="ext4",
    partuuid="3-4",
    systemd=True,
    kexec=True,
    grub=GRUB,
    boot_partition="/efi",
    initramfs="mkinitramfs",
    watchdog="i6300esb",
    free={"/boot": 1 << 20, "/tmp": 1 << 20},
    installed=(),
    known_good="",
    clock=0.0,
    users=(),
    left=(),
    tainted=0,
)


def test_kexec_comes_first_since_the_watchdog_runs_on_over_it() -> None:
    choice = choose(HOST)
    assert choice.way is BootWay.KEXEC
    assert "the watchdog runs on" in choice.why
    assert "no watchdog" in choose(replace(HOST, watchdog="")).why


def test_what_a_machine_has_not_got_is_passed_over() -> None:
    assert choose(replace(HOST, kexec=False)).way is BootWay.GRUB
    assert choose(replace(HOST, kexec=False, grub=None)).way is BootWay.SYSTEMD_BOOT
    nothing = choose(replace(HOST, kexec=False, grub=None, boot_partition=""))
    assert nothing.way is None
    assert all(way.value in nothing.why for way in BootWay)


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (replace(GRUB, once=False), "knows no next_entry"),
        (replace(GRUB, custom=False), "does not read custom.cfg"),
        (replace(GRUB, plain=False), "not forget"),
    ],
)
def test_a_grub_that_cannot_forget_is_no_way(broken: Grub, why: str) -> None:
    choice = choose(replace(HOST, grub=broken), "grub")
    assert choice.way is None
    assert why in choice.why


def test_a_way_that_is_asked_for_is_taken_or_none() -> None:
    assert choose(HOST, "systemd-boot").way is BootWay.SYSTEMD_BOOT
    assert choose(replace(HOST, kexec=False), "kexec").way is None


SENT = Sent("boot-1", "7.3.4-xdna-0a", "6.12.1-amd64")


@pytest.mark.parametrize(
    ("boot", "release", "expected"),
    [
        ("boot-2", "7.3.4-xdna-0a", CameBack.UP),
        ("boot-2", "6.12.1-amd64", CameBack.FELL_BACK),
        ("boot-2", "7.3.4-xdna-0b", CameBack.ASTRAY),
        ("boot-1", "6.12.1-amd64", CameBack.NEVER_LEFT),
        ("", "", CameBack.AWAY),
        ("boot-1", "7.3.4-xdna-0a", CameBack.NEVER_LEFT),
    ],
)
def test_who_came_back(boot: str, release: str, expected: CameBack) -> None:
    assert judge(SENT, boot, release) is expected


def ours(*ages: int, kib: int = 20 << 10) -> tuple[Installed, ...]:
    return tuple(Installed(f"7.3.4-xdna-{age:02x}", kib, 1000 - age) for age in ages)


def test_the_kernels_that_were_not_used_for_the_longest_time_go() -> None:
    host = replace(HOST, installed=ours(5, 1, 9, 3))
    assert len(host.installed) == KEPT
    assert make_room(host, "7.3.4-xdna-ff", 20 << 10).remove == ("7.3.4-xdna-09",)
    assert make_room(host, "7.3.4-xdna-ff", 20 << 10, ["7.3.4-xdna-09"]).remove == ("7.3.4-xdna-05",)
    assert make_room(host, "7.3.4-xdna-09", 20 << 10).remove == ()


def test_more_go_where_space_is_short() -> None:
    host = replace(HOST, installed=ours(2, 3), free={"/boot": SPARE_KIB, "/tmp": TMP_KIB})
    room = make_room(host, "7.3.4-xdna-ff", 30 << 10)
    assert room.remove == ("7.3.4-xdna-03", "7.3.4-xdna-02")
    assert room.lacks == ""


def test_what_does_not_fit_even_then_is_said() -> None:
    full = replace(HOST, installed=ours(2), free={"/boot": 0, "/tmp": TMP_KIB})
    assert make_room(full, "7.3.4-xdna-ff", 20 << 10).lacks == "/boot has 20 MiB free, and 84 MiB are needed"
    assert make_room(full, "7.3.4-xdna-02", 20 << 10).lacks == "", "it is there already"
    assert "/tmp" in make_room(replace(full, free={"/boot": 1 << 30, "/tmp": 5}), "7.3.4-xdna-02", 1).lacks


def test_the_kernel_that_runs_stays() -> None:
    host = replace(HOST, release="7.3.4-xdna-09", installed=ours(9, 1, 2, 3))
    assert "7.3.4-xdna-09" not in make_room(host, "7.3.4-xdna-ff", 1).remove


def test_clocks() -> None:
    assert skew(100.0, 101.0) == 0.0
    assert skew(3700.0, 100.0) == 3600.0
    assert skew(0.0, 100.0) == 0.0, "it did not say"
    assert jumped(1.0, 1.5) == 0.0
    assert jumped(0.0, -86400.0) == -86400.0
