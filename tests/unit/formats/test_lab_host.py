# SPDX-License-Identifier: GPL-2.0-only
"""tests/data/lab-host.json was printed by harness/guest/probe.py on vm-images/lab-host."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.formats.lab_host import read
from harness.guest import probe
from harness.model.lab_host import Grub, Installed

SAID = (Path(__file__).parents[2] / "data/lab-host.json").read_text()


def but(**other: Any) -> str:
    return json.dumps({**json.loads(SAID), **other})


def test_a_machine_as_it_was_found() -> None:
    host = read(f"motd of the day\n{SAID}")
    assert host is not None
    assert host.release == "6.12.117+deb13-amd64"
    assert not host.runs_ours
    assert (host.rootfs, host.partuuid, host.systemd, host.kexec) == ("ext4", "", True, True)
    uuid = "bfaee35b-eb42-4c51-9dff-a62015ec1b43"
    assert host.grub == Grub("/boot/grub", "grub-reboot", once=True, custom=True, plain=True, uuid=uuid, mount="/")
    assert (host.watchdog, host.initramfs) == ("i6300esb", "mkinitramfs")
    assert host.free["/boot"] == 3230392


def test_our_kernels_there() -> None:
    host = read(but(release="7.3.4-xdna-0a", ours=[["7.3.4-xdna-0a", 9000, 5]], known="6.12.117+deb13-amd64"))
    assert host is not None
    assert host.runs_ours
    assert host.installed == (Installed("7.3.4-xdna-0a", 9000, 5),)
    assert host.known_good == "6.12.117+deb13-amd64"


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"lockdown": "none [integrity] confidentiality"}, {"kexec": False}),
        ({"kexec": False}, {"kexec": False}),
        ({"lockdown": ""}, {"kexec": True}),
        ({"partuuid": "8d3c-01"}, {"partuuid": "8d3c-01"}),
        ({"partuuid": "8d3c-01", "below": ["lvm", "part", "disk"]}, {"partuuid": ""}),
        ({"grub": None}, {"grub": None}),
        ({"loader": "systemd-boot 257.9-1~deb13u1"}, {"grub": None}),
    ],
)
def test_what_a_way_needs(other: dict[str, Any], expected: dict[str, Any]) -> None:
    found, plain = read(but(**other)), read(SAID)
    assert found is not None
    assert plain is not None
    assert found == replace(plain, **expected)


@pytest.mark.parametrize(("fs", "below"), [("btrfs", ["part", "disk"]), ("ext4", ["raid1", "part", "disk"])])
def test_where_grub_cannot_write(fs: str, below: list[str]) -> None:
    grub = json.loads(SAID)["grub"]
    host = read(but(grub={**grub, "fs": fs, "below": below}))
    assert host is not None
    assert host.grub is not None
    assert not host.grub.plain


@pytest.mark.parametrize("output", ["", "{}", "[1]\n", '{"release": 1', but(ours=[["x"]])])
def test_what_is_no_answer(output: str) -> None:
    assert read(output) is None


def test_the_probe_answers_on_any_linux(tmp_path: Path) -> None:
    (tmp_path / "vmlinuz-7.3.4-xdna-0a").write_bytes(bytes(2048))
    (tmp_path / "vmlinuz-7.3.4-xdna-0b.part").touch()
    (tmp_path / "known-good").write_text("6.1\n")
    host = read(json.dumps(probe.main(str(tmp_path), str(tmp_path))))
    assert host is not None
    assert host.release
    assert [kernel.release for kernel in host.installed] == ["7.3.4-xdna-0a"]
    assert host.known_good == "6.1"


def test_who_booted_it_is_read_as_the_firmware_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "LOADER", str(tmp_path / "LoaderInfo"))
    assert probe.loader() == "", "no UEFI, or a loader that does not say"
    (tmp_path / "LoaderInfo").write_bytes(b"\6\0\0\0" + "systemd-boot 257\0".encode("utf-16-le"))
    assert probe.loader() == "systemd-boot 257"
