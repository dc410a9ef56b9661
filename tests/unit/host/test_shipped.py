# SPDX-License-Identifier: GPL-2.0-only
"""Kernels as shipped: which package, what of it, and what cannot be asked of them."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest

from harness.engines.shipped import module_of
from harness.errors import InfraError, UsageError
from harness.formats import cpio
from harness.host import shipped
from harness.host.sources import split
from harness.host.store import Store
from harness.host.trees import make_tree
from harness.job import Job, check
from harness.model.edit import Edit, Edits
from harness.model.tree import Source

RELEASE = "9.1.2+deb99-amd64"
NEEDS = {"amdxdna": ["drm", "gpu_sched"], "gpu_sched": [], "drm": [], "virtio_blk": [], "erofs": ["drm"]}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An unpacked package whose modules say nothing but their names; what they need stands above."""
    modules = tmp_path / "root/usr/lib/modules" / RELEASE
    for name in NEEDS:
        path = modules / "kernel/drivers" / f"{name.replace('_', '-')}.ko.xz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(lzma.compress(name.encode()))
    (modules / "vmlinuz").write_bytes(b"kernel")
    (tmp_path / "root/usr/bin").mkdir(parents=True)
    (tmp_path / "root/usr/bin/busybox").write_bytes(b"busybox")
    monkeypatch.setattr(shipped, "depends_of", lambda elf: [*NEEDS[elf.decode()], "part_of_the_kernel"])
    return tmp_path / "root"


def take(root: Path, folder: Path) -> Path:
    folder.mkdir()
    shipped._take(root, RELEASE, cpio.archive([]), folder)
    return folder


def test_the_driver_comes_last_and_what_the_initrd_loads_is_not_loaded_twice(root: Path, tmp_path: Path) -> None:
    folder = take(root, tmp_path / "entry")
    record = json.loads((folder / "shipped.json").read_text())
    assert record == {"release": RELEASE, "modules": ["gpu_sched", "amdxdna"]}
    assert (folder / "modules/amdxdna.ko").read_bytes() == b"amdxdna", "unpacked: the guest's agent takes ELF files"
    initrd = (folder / "initrd").read_bytes()
    places = [initrd.index(name) for name in (b"00-virtio_blk.ko", b"01-drm.ko", b"02-erofs.ko")]
    assert places == sorted(places)


def test_older_packages_have_the_kernel_in_boot(root: Path, tmp_path: Path) -> None:
    (root / "boot").mkdir()
    (root / "usr/lib/modules" / RELEASE / "vmlinuz").rename(root / "boot" / f"vmlinuz-{RELEASE}")
    assert (take(root, tmp_path / "entry") / "vmlinuz").read_bytes() == b"kernel"


def test_a_kernel_without_the_driver_is_the_users_mistake(root: Path, tmp_path: Path) -> None:
    next(root.rglob("amdxdna.ko.xz")).unlink()
    with pytest.raises(UsageError, match="shipped without amdxdna"):
        take(root, tmp_path / "entry")


def test_modules_that_need_each_other_are_said(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NEEDS, "drm", ["gpu_sched"])
    monkeypatch.setitem(NEEDS, "gpu_sched", ["drm"])
    with pytest.raises(InfraError, match="not in order"):
        take(root, tmp_path / "entry")


class Apt:
    """Knows names and versions."""

    def names(self, prefix: str) -> list[str]:
        other = ("-cloud", "-rt", "")
        return [f"linux-image-9.1.2+deb99{kind}-amd64{end}" for kind in other for end in ("", "-dbg")]

    def all_versions(self, names: list[str]) -> dict[str, list[str]]:
        return {name: ["9.1.2-1"] for name in names}


def test_only_ordinary_kernels_are_chosen_from() -> None:
    apt: object = Apt()
    assert shipped.images(apt) == {f"linux-image-{RELEASE}": ["9.1.2-1"]}  # type: ignore[arg-type]


def test_the_module_is_what_the_package_brought(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.engines.shipped.build_id", lambda elf: elf.decode())
    folder = take(root, tmp_path / "entry")
    source = Source("debian-bin:9.1", "package", "9.1.2", "key", folder, shipped=True)
    module = module_of(make_tree(source, (), Store(tmp_path / "cache")))
    assert (module.build_id, module.kernel.release) == ("amdxdna", RELEASE)
    assert module.kernel.initrd == folder / "initrd"
    edit = Edits("x", "t", (Edit("a", "b", "c", "d"),))
    with pytest.raises(UsageError, match="no patch and no edit"):
        make_tree(source, (), Store(tmp_path / "cache"), (edit,))


@pytest.mark.parametrize("wrong", [{"coverage": True}, {"profile": "debug"}])
def test_what_needs_a_build_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="as shipped is not built"):
        check({"kernel": "debian-bin:7.3", **wrong}, Job, "here")


def test_the_word_is_known() -> None:
    assert split("debian-bin:7.3") == ("debian-bin", "7.3")
