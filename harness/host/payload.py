# SPDX-License-Identifier: GPL-2.0-only
"""What travels to the target at every boot: the leaves, the suite, the driver, a firmware file, options. One tar."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from harness.host.vm import MODES
from harness.model.kernel import Kernel
from harness.model.variant import Variant

FIRMWARE = ("1502_00", "17f0_10", "17f0_11")
"""Folders below amdnpu/ that aie2_pci.c asks for, by NPU generation. The emulated PSP takes any content."""


def pack(kernel: Kernel, package: Path, suite: Path, variant: Variant) -> bytes:
    """The tar that the guest's bootstrap unpacks into /run/xdna.

    ``package`` is the folder of the harness package, ``suite`` the folder of the tests. Modules go to modules/ in
    load order, as options.json says in "modules". Padded to whole sectors, so that it can be a disk too.
    """
    options = {
        "npu": variant.npu,
        "mode": variant.address_mode.value,
        "target": variant.target,
        "modules": [path.name for path in kernel.modules],
        "parameters": " ".join(MODES[variant.address_mode].driver),
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        _add(tar, "harness/__init__.py", (package / "__init__.py").read_bytes())
        for leaf in ("guest", "drm"):
            _add_tree(tar, package / leaf, f"harness/{leaf}")
        _add_tree(tar, suite, "tests/target")
        for path in kernel.modules:
            _add(tar, f"modules/{path.name}", path.read_bytes())
        for folder in FIRMWARE:
            _add(tar, f"firmware/amdnpu/{folder}/npu_7.sbin", b"emulated firmware\n" * 64)
        _add(tar, "options.json", json.dumps(options).encode())
    return buffer.getvalue()


def _add_tree(tar: tarfile.TarFile, root: Path, name: str) -> None:
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.suffix in (".py", ".toml"):
            _add(tar, f"{name}/{path.relative_to(root)}", path.read_bytes())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o644
    tar.addfile(info, io.BytesIO(data))
