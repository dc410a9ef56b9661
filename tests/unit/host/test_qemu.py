# SPDX-License-Identifier: GPL-2.0-only
"""Which QEMU, and how one that was unpacked is started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import InfraError
from harness.host import qemu
from harness.host.store import Store


def program(path: Path, devices: str) -> None:
    """A stand-in that answers the two questions."""
    path.write_text(
        "#!/bin/sh\n"
        'case "$1" in --version) echo "QEMU emulator version 10.9.1 (Debian 1:10.9.1)";; '
        f"*) echo 'name \"{devices}\", bus PCI';; esac\n"
    )
    path.chmod(0o755)


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "qemu-system-x86_64"


def test_the_systems_is_taken_when_it_has_the_device(found: Path, tmp_path: Path) -> None:
    program(found, "vfio-user-pci")
    chosen = qemu.find_qemu(Store(tmp_path / "store"))
    assert (chosen.argv, chosen.version, chosen.origin) == ((str(found),), "10.9.1", "the system's")
    found.write_text(found.read_text() + "# another build\n")
    assert qemu.find_qemu(Store(tmp_path / "store")).key != chosen.key


def test_another_one_when_the_systems_has_not(found: Path, tmp_path: Path) -> None:
    program(found, "vfio-pci")
    store = Store(tmp_path / "store")
    store.path("prefixes", "k").mkdir(parents=True)
    note = {"key": "k", "version": "11.1.3", "origin": "Debian package 1"}
    store.path("prefixes", "qemu.json").write_text(json.dumps(note))
    chosen = qemu.find_qemu(store)
    assert (chosen.key, chosen.version) == ("k", "11.1.3")
    assert chosen.argv == qemu.private_argv(store.path("prefixes", "k"))


def test_an_unpacked_one_runs_with_its_own_libraries() -> None:
    assert qemu.private_argv(Path("/p")) == (
        "/p/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
        "--library-path",
        "/p/usr/lib/x86_64-linux-gnu:/p/usr/lib",
        "/p/usr/bin/qemu-system-x86_64",
        "-L",
        "/p/usr/share/qemu",
        "-L",
        "/p/usr/share/seabios",
    )


def test_version() -> None:
    assert qemu.parse_version("QEMU emulator version 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1)") == "11.1.3"
    with pytest.raises(InfraError):
        qemu.parse_version("Segmentation fault")
