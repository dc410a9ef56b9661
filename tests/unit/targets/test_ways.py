# SPDX-License-Identifier: GPL-2.0-only
"""GRUB's and systemd-boot's ways, their scripts run by a real sh; what boots is played."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from harness.errors import InfraError
from harness.formats.lab_host import read
from harness.host.leases import LeaseLost
from harness.model.boot_way import BootWay
from harness.targets.ssh import ways
from harness.targets.ssh.kernels import There
from harness.targets.ssh.machine import Machine
from tests.unit.targets.played import Shell

OURS = "7.3.4-xdna-0a"
SAID = (Path(__file__).parents[2] / "data/lab-host.json").read_text()


def test_where_the_partition_is_boot_our_kernels_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then our kernels and what boots once are on the same partition."""
    boot, once = tmp_path / "boot", tmp_path / "once"
    image = boot / "xdna-harness" / f"vmlinuz-{OURS}"
    image.parent.mkdir(parents=True)
    image.write_text("a kernel")
    (boot / "loader/entries").mkdir(parents=True)
    (boot / "loader/entries/own.conf").touch()
    (tmp_path / "bootctl").write_text(f'#!/bin/sh\necho "$2" > {once}\n')
    (tmp_path / "bootctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(ways, "ONE_SHOT", str(once))
    found = read(SAID)
    assert found is not None
    machine, host = cast(Machine, Shell()), replace(found, boot_partition=str(boot), grub=None)

    ways.prepare(machine, host, BootWay.SYSTEMD_BOOT, There(OURS, str(image)), "root=/dev/vda1 quiet")
    lines = (boot / "loader/entries" / once.read_text().strip()).read_text().splitlines()
    (place,) = [line.removeprefix("linux ") for line in lines if line.startswith("linux ")]
    assert (boot / place.lstrip("/")).read_text() == "a kernel"
    assert "options root=/dev/vda1 quiet" in lines

    ways.forget(machine, host)
    assert image.read_text() == "a kernel"
    assert sorted(path.name for path in boot.iterdir()) == ["loader", "xdna-harness"]
    assert [path.name for path in (boot / "loader/entries").iterdir()] == ["own.conf"]


def test_what_a_person_wrote_for_grub_stays_to_the_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Latin-1 is no UTF-8, and a shell that complains is no part of the file."""
    own = b"# la machine de l'\xe9quipe: don't touch\nset x='a b'\r\n"
    custom = tmp_path / "custom.cfg"
    custom.write_bytes(own)
    editenv = tmp_path / "grub-editenv"
    (tmp_path / "grub-reboot").write_text(f'#!/bin/sh\necho "next_entry=$1" > {tmp_path}/env\n')
    editenv.write_text(f"#!/bin/sh\ncat {tmp_path}/env\n")
    for tool in (editenv, tmp_path / "grub-reboot"):
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = read(SAID)
    assert found is not None
    assert found.grub is not None
    machine, host = cast(Machine, Shell()), replace(found, grub=replace(found.grub, folder=str(tmp_path)))

    ways.prepare(machine, host, BootWay.GRUB, There(OURS, "/boot/ours"), "root=/dev/vda1")
    assert custom.read_bytes().startswith(own)
    assert OURS.encode() in custom.read_bytes()
    ways.forget(machine, host)
    assert custom.read_bytes() == own
    custom.unlink()
    ways.prepare(machine, host, BootWay.GRUB, There(OURS, "/boot/ours"), "root=/dev/vda1")
    ways.forget(machine, host)
    assert not custom.exists()


@pytest.mark.parametrize(
    ("error", "gone"),
    [
        (InfraError("the connection broke", transient=True), True),
        (InfraError("status 1"), False),
        (LeaseLost("another's", transient=True), False),
    ],
)
def test_a_machine_that_left_gives_no_answer(error: InfraError, gone: bool) -> None:
    def do(*_: object) -> str:
        raise error

    with nullcontext() if gone else pytest.raises(type(error)):
        ways.leave(cast(Machine, SimpleNamespace(do=do)), "kexec")
