# SPDX-License-Identifier: GPL-2.0-only
"""What travels to the target: the leaves, the suite, the driver, a firmware file, options."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.host.vm import DRIVER_PARAMETERS
from harness.model.kernel import Module
from harness.model.variant import Variant

Entry = tuple[str, bytes]

FIRMWARE = ("1502_00", "17f0_10", "17f0_11")
"""Folders below amdnpu/ that aie2_pci.c asks for, by NPU generation. The emulated PSP takes any content."""


@dataclass(frozen=True)
class Payload:
    """What travels. ``package`` is the folder of the harness package, ``suite`` the folder of the tests. ``firmware``:
    files below /lib/firmware for a real NPU, by name; none for an emulated one."""

    module: Module
    package: Path
    suite: Path
    variant: Variant
    firmware: tuple[Entry, ...] = ()

    def common(self) -> bytes:
        """A tar of what is the same for every driver."""
        return common(self.package, self.suite)

    def driver(self, loaded: Container[str] = ()) -> bytes:
        """A tar of what is added to that: modules but for those ``loaded``, by file name; firmware, options."""
        return _tar(self._driver(loaded))

    def whole(self) -> bytes:
        """Both in one tar, padded to whole sectors, so that it can be a disk too."""
        return _tar([*_common(self.package, self.suite), *self._driver()])

    def _driver(self, loaded: Container[str] = ()) -> list[Entry]:
        """Modules go to modules/ in load order, as options.json says in "modules"."""
        options = {
            "npu": self.variant.npu,
            "mode": self.variant.address_mode.value,
            "target": self.variant.target,
            "modules": [path.name for path in self.module.files],
            "parameters": DRIVER_PARAMETERS[self.variant.address_mode],
        }
        made_up = [(f"amdnpu/{folder}/npu_7.sbin", b"emulated firmware\n" * 64) for folder in FIRMWARE]
        firmware = [(f"firmware/{name}", data) for name, data in self.firmware or made_up]
        return [
            *_modules([path for path in self.module.files if path.name not in loaded]),
            *firmware,
            ("options.json", json.dumps(options).encode()),
        ]


def common(package: Path, suite: Path) -> bytes:
    """A tar of what is the same for every driver: agent, uAPI, tests."""
    return _tar(_common(package, suite))


def modules_tar(files: Sequence[Path]) -> bytes:
    """A tar of modules only."""
    return _tar(_modules(files))


def _modules(files: Sequence[Path]) -> list[Entry]:
    return [(f"modules/{path.name}", path.read_bytes()) for path in files]


def _common(package: Path, suite: Path) -> list[Entry]:
    entries = [("harness/__init__.py", (package / "__init__.py").read_bytes())]
    for leaf in ("guest", "drm"):
        entries += _files(package / leaf, f"harness/{leaf}")
    return [*entries, *_files(suite, "tests/target")]


def _tar(entries: list[Entry]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mode = 0o644
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _files(root: Path, name: str) -> list[Entry]:
    paths = (path for path in sorted(root.rglob("*")) if path.is_file() and path.suffix in (".py", ".toml", ".json"))
    return [(f"{name}/{path.relative_to(root)}", path.read_bytes()) for path in paths]
