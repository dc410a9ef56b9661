# SPDX-License-Identifier: GPL-2.0-only
"""What a crash left on a machine, and what its owner keeps there; the machine's files are played."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.formats.machine_facts import Facts
from harness.host.payload import Payload
from harness.targets.ssh.evidence import Evidence
from harness.targets.ssh.guests import SshLab
from harness.targets.ssh.machine import Machine

OWNERS = ["/var/crash/202601010000/dmesg.1", "/var/crash/202602020000/dmesg.2", "/sys/fs/pstore/dmesg-efi-1"]
OURS = "/var/crash/202611270000/dmesg.3"


class Disk:
    """A machine's files by name. ``ask`` says that it runs what the run wants already."""

    name = "box"

    def __init__(self) -> None:
        self.files = {name: f"[ 9.0] an old panic in {name}".encode() for name in OWNERS}
        self.removed: list[str] = []

    def ask(self) -> Facts:
        return Facts("7.3", "1", oopsed=False, root="", python=(3, 13), pytest=True)

    def root(self, script: str, seconds: float) -> tuple[int, str]:
        if script.startswith("rm "):
            self.removed.append(script)
        return 0, "\n".join(self.files)

    def fetch(self, names: str) -> dict[str, bytes]:
        return {name: data for name, data in self.files.items() if name in names}


def lab_of(disk: Disk) -> SshLab:
    machine = cast(Machine, disk)
    lab = SshLab(machine, Evidence(machine), None)
    lab.upkeep = cast(Any, SimpleNamespace(first=lambda: None))
    return lab


def test_what_the_owner_keeps_is_neither_read_nor_removed_where_nothing_is_booted(tmp_path: Path) -> None:
    disk = Disk()
    lab = lab_of(disk)
    lab.ready(cast(Payload, SimpleNamespace(module=SimpleNamespace(kernel=SimpleNamespace(release="7.3")))), tmp_path)
    assert lab.evidence.collect(tmp_path) == ""
    disk.files[OURS] = b"[ 10.0] Kernel panic"
    assert lab.evidence.collect(tmp_path) == "[ 10.0] Kernel panic"
    assert lab.evidence.collect(tmp_path) == "[ 10.0] Kernel panic", "who asks twice does not lose it"
    assert disk.removed == []


@pytest.mark.parametrize("marked", [False, True])
def test_without_a_mark_nothing_is_known_to_be_ours(marked: bool, tmp_path: Path) -> None:
    disk = Disk()
    evidence = Evidence(cast(Machine, disk))
    if marked:
        disk.files, kept = {}, disk.files
        evidence.mark()
        disk.files = kept
    assert bool(evidence.collect(tmp_path)) is marked
    assert bool(disk.removed) is marked


def test_what_cannot_be_kept_here_is_said_and_still_cleared_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """pstore would be full after a few crashes; the names are the machine's."""
    disk = Disk()
    evidence = Evidence(cast(Machine, disk))
    evidence.mark()
    long = f"/sys/fs/pstore/{'x' * 300}"
    disk.files |= {long: b"one", "/sys/fs/pstore/dmesg-erst-2": b"[ 11.0] Kernel panic\n"}
    assert "Kernel panic" in evidence.collect(tmp_path)
    assert "cannot keep" in capsys.readouterr().err
    assert any(long in script and "dmesg-erst-2" in script for script in disk.removed)
    assert [path.read_bytes() for path in (tmp_path / "crash").iterdir()] == [b"[ 11.0] Kernel panic\n"]
