# SPDX-License-Identifier: GPL-2.0-only
"""Kernels as a distribution ships them: Debian's packages unpacked, nothing built, their scripts not run.

kernels/<key>/vmlinuz, modules/*.ko    the driver and what it needs
kernels/<key>/initrd                   the IOMMU's table, and the modules without which there is no root file system
kernels/<key>/shipped.json             release, modules in load order
"""

from __future__ import annotations

import json
import lzma
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.errors import InfraError, UsageError
from harness.formats import cpio
from harness.formats.modinfo import NotAModule, depends_of, load_order
from harness.host import debs
from harness.host.apt import PrivateApt
from harness.host.initrd import ivrs_archive
from harness.host.store import Store, key_of
from harness.log import step

LAYOUT = 1
"""Part of every key; to be raised when the code below changes what comes out."""
DRIVER = "amdxdna"
ROOT_NEEDS = ("virtio_blk", "erofs")
OTHERS = ("virtio_pci", "virtio_console", "virtio_rng")
"""Modules in some configurations, part of the kernel in others."""
RECORD = "shipped.json"
SHELL = "busybox-static"
_IMAGE = re.compile(r"linux-image-(\d+\.\d+[^-]*-amd64)")

INIT = """#!/bin/busybox sh
# Loads what the root file system needs, and hands over to its init. Anything that fails is said on the console.
b=/bin/busybox
$b mount -t devtmpfs dev /dev
for module in /modules/*.ko; do $b insmod "$module" || $b echo "xdna-initrd: $module does not load"; done
tries=0
until [ -b /dev/vda ] || [ $tries -ge 100 ]; do tries=$((tries+1)); $b sleep 0.1; done
$b mount -t erofs -o ro /dev/vda /root || { $b echo 'xdna-initrd: no root file system'; $b poweroff -f; }
$b umount /dev
exec $b switch_root /root /init
"""


def images(apt: PrivateApt) -> dict[str, list[str]]:
    """The versions of each package with an ordinary kernel: no cloud, real-time or debug one."""
    return apt.all_versions([name for name in apt.names("linux-image-") if _IMAGE.fullmatch(name)])


def unpacked(package: str, version: str, apt: PrivateApt, store: Store) -> Path:
    """The folder of a ``linux-image-*`` package, unpacked now if it is not in the store. InfraError: mirror or disk.
    UsageError: that kernel has no driver."""
    release = _release(package)
    ivrs = ivrs_archive()
    key = key_of(package=package, version=version, initrd=INIT, ivrs=ivrs.hex(), layout=LAYOUT)

    def make(folder: Path) -> None:
        parts = [part for part in (f"linux-binary-{release}", f"linux-modules-{release}") if apt.versions(part)]
        archives = [apt.download(part, version) for part in parts or [package]]  # one package until 7.1
        shell = apt.download(SHELL, apt.versions(SHELL)[0])
        with (
            step(f"unpacking {package} {version}"),
            tempfile.TemporaryDirectory(prefix=".shipped-", dir=folder.parent) as scratch,
        ):
            root = Path(scratch)
            debs.unpack([*archives, shell], root)
            _take(root, release, ivrs, folder)
        for archive in (*archives, shell):
            archive.unlink()
        (folder / "make.log").write_text(f"nothing was built: {', '.join(parts or [package])} {version}\n")

    return store.get("kernels", key, make)


def _release(package: str) -> str:
    found = _IMAGE.fullmatch(package)
    if not found:
        raise ValueError(f"no package with a kernel: {package}")
    return found[1]


def _take(root: Path, release: str, ivrs: bytes, folder: Path) -> None:
    """Of unpacked packages what a guest needs."""
    places = (root / "usr/lib/modules" / release / "vmlinuz", root / "boot" / f"vmlinuz-{release}")
    image = next((place for place in places if place.is_file()), None)
    if image is None:
        raise InfraError(f"the packages of {release} hold no kernel", hint="has their layout changed?")
    (folder / "vmlinuz").write_bytes(image.read_bytes())
    modules = _Modules(root / "usr/lib/modules" / release / "kernel")
    if DRIVER not in modules.files:
        raise UsageError(f"{release} is shipped without {DRIVER}", hint="the driver is there since 6.14")
    early = modules.order([name for name in (*OTHERS, *ROOT_NEEDS) if name in modules.files])
    late = [name for name in modules.order([DRIVER]) if name not in early]
    (folder / "modules").mkdir()
    for name in late:
        (folder / "modules" / f"{name}.ko").write_bytes(modules.content(name))
    entries = [cpio.directory(name) for name in ("bin", "dev", "modules", "root")]
    entries += [
        cpio.character_device("dev/console", 5, 1),
        cpio.file("bin/busybox", (root / "usr/bin/busybox").read_bytes(), 0o755),
        cpio.file("init", INIT.encode(), 0o755),
        *(cpio.file(f"modules/{n:02}-{name}.ko", modules.content(name)) for n, name in enumerate(early)),
    ]
    (folder / "initrd").write_bytes(ivrs + cpio.archive(entries))
    (folder / RECORD).write_text(json.dumps({"release": release, "modules": late}))


class _Modules:
    """The modules of an unpacked kernel, by name."""

    def __init__(self, folder: Path) -> None:
        found = (path for pattern in ("*.ko", "*.ko.xz") for path in folder.rglob(pattern))
        self.files = {path.name.partition(".")[0].replace("-", "_"): path for path in found}

    def content(self, name: str) -> bytes:
        """The module's ELF file."""
        data = self.files[name].read_bytes()
        return lzma.decompress(data) if self.files[name].suffix == ".xz" else data

    def order(self, wanted: Sequence[str]) -> list[str]:
        """What has to be loaded for ``wanted``, in order. What is not a module is part of the kernel."""
        needs: dict[str, list[str]] = {}
        open_ = list(wanted)
        try:
            while open_:
                name = open_.pop()
                if name not in needs:
                    needs[name] = [need for need in depends_of(self.content(name)) if need in self.files]
                    open_ += needs[name]
            return list(dict.fromkeys(part for name in wanted for part in load_order(name, needs)))
        except (NotAModule, lzma.LZMAError) as error:
            raise InfraError(f"a module of the package is not in order: {error}") from error
