# SPDX-License-Identifier: GPL-2.0-only
"""The real apt, QEMU and mkfs.erofs, in the user's cache; no kernel is unpacked or booted."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from harness.errors import HarnessError, InfraError, UsageError
from harness.host import accel, proc
from harness.host.apt import MAX_AGE, PrivateApt
from harness.host.apt_config import MIRROR_VARIABLE
from harness.host.image import guest_image
from harness.host.qemu import Qemu, find_qemu, has_device
from harness.host.sources import resolve
from harness.host.store import Store

UNCHECKED_HASH = 1
"""The flags of a .pyc that is believed without a look at its source (PEP 552)."""


@pytest.fixture(scope="module")
def store() -> Store:
    """The user's cache, with an index of a mirror that answers."""
    store = Store()
    try:
        PrivateApt(store).refresh(older_than=MAX_AGE)
    except HarnessError as error:
        pytest.skip(f"no mirror answers: {error.message}")
    return store


@pytest.fixture(scope="module")
def qemu(store: Store) -> Qemu:
    return find_qemu(store)


@pytest.fixture(scope="module")
def image(store: Store) -> Path:
    if not shutil.which("mkfs.erofs"):
        pytest.skip("mkfs.erofs is not installed (erofs-utils)")
    return guest_image(store)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every attempt to reach the mirror fails at once."""
    monkeypatch.setenv(MIRROR_VARIABLE, "http://127.0.0.1:9/debian")


def test_kernel_versions_without_a_trace_in_the_systems_apt(store: Store) -> None:
    def system() -> list[tuple[str, float]]:
        folders = (Path("/etc/apt"), Path("/var/lib/apt/lists"), Path("/var/lib/dpkg"))
        return sorted((str(p), p.stat().st_mtime) for folder in folders for p in folder.rglob("*"))

    before = system()
    apt = PrivateApt(store)
    apt.refresh()
    assert any(version.startswith("7.") for version in apt.source_versions("linux"))
    assert any(apt.all_versions(apt.names("linux-source-")).values())
    assert system() == before


def test_an_unknown_version_names_its_neighbours(store: Store) -> None:
    with pytest.raises(UsageError, match=r"no kernel source of version 7\.0\.999") as caught:
        resolve("debian:7.0.999", store)
    assert "7.1." in caught.value.hint


def test_a_dead_mirror_is_named_by_no_message(tmp_path: Path, no_network: None) -> None:
    with pytest.raises(InfraError) as caught:
        PrivateApt(Store(tmp_path)).versions("linux-source-7.3")
    assert "127.0.0.1" not in " ".join(caught.value.lines())
    assert "127.0.0.1" not in (tmp_path / "packages/apt/apt.log").read_text()


def test_an_unsigned_archive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for suite in ("trixie", "trixie-updates", "trixie-backports"):
        (tmp_path / "mirror/dists" / suite).mkdir(parents=True)
        (tmp_path / "mirror/dists" / suite / "Release").write_text(f"Codename: {suite}\nSuite: {suite}\n")
    monkeypatch.setenv(MIRROR_VARIABLE, f"file:{tmp_path}/mirror")
    with pytest.raises(InfraError, match="not signed"):
        PrivateApt(Store(tmp_path / "store")).versions("linux-source-7.3")


def test_qemu_has_the_device_and_needs_no_network_again(store: Store, qemu: Qemu, no_network: None) -> None:
    assert has_device(qemu.argv)
    assert tuple(int(part) for part in qemu.version.split(".")[:2]) >= (10, 1)
    assert find_qemu(store) == qemu


def test_the_accelerator_is_measured_within_seconds(qemu: Qemu, tmp_path: Path) -> None:
    started = time.monotonic()
    chosen = accel.measure(qemu, Store(tmp_path))
    assert time.monotonic() - started < 10
    assert chosen.name in ("kvm", "tcg")
    assert chosen.reason.startswith(f"{chosen.name}: ")
    if chosen.name == "kvm":
        assert (chosen.kvm_rate or 0) > (chosen.tcg_rate or 0)


def test_the_measuring_guest_counts(qemu: Qemu) -> None:
    emulated = accel.choose(None, None)
    assert accel.rate(qemu, emulated, accel.START_SECONDS) > 1e6


def test_the_image_is_the_same_when_made_again(image: Path, store: Store, tmp_path: Path, no_network: None) -> None:
    assert guest_image(store) == image
    again = Store(tmp_path / "store")
    (again.root / "images").mkdir(parents=True)
    (again.root / "packages").symlink_to(store.root / "packages")
    for note in (store.root / "images").glob("packages-*.json"):
        shutil.copy(note, again.root / "images")
    second = guest_image(again)
    assert second.parent.name == image.parent.name
    assert second.read_bytes() == image.read_bytes()

    root = tmp_path / "root"
    proc.run(["fsck.erofs", f"--extract={root}", second], what="unpacking the image", timeout=120)
    assert not [path for path in root.rglob("*") if "shadow" in path.name]
    assert (root / "init").stat().st_mode & 0o7777 == 0o755
    modules = [p for p in root.glob("usr/lib/python3*/**/*.py") if p.is_file() and "__pycache__" not in p.parts]
    compiled = {p.parent.parent / f"{p.name.split('.')[0]}.py": p for p in root.glob("usr/lib/**/__pycache__/*.pyc")}
    assert len(modules) > 500
    assert [m for m in modules if m not in compiled] == []
    assert {int.from_bytes(p.read_bytes()[4:8], "little") for p in compiled.values()} == {UNCHECKED_HASH}
