# SPDX-License-Identifier: GPL-2.0-only
"""The NPU's firmware as this host has it, for a guest that is given the NPU."""

from __future__ import annotations

import lzma
import tempfile
from pathlib import Path

from harness.errors import InfraError
from harness.host import proc

FOLDER = Path("/lib/firmware")
UNPACK_SECONDS = 60.0


def npu_firmware(folder: Path = FOLDER) -> tuple[tuple[str, bytes], ...]:
    """(name below /lib/firmware, content) of every file, unpacked: the guest's kernel need not know how. InfraError:
    there is none."""
    names = sorted(path for path in folder.glob("amdnpu/*/*") if ".sbin" in path.suffixes and path.exists())
    if not names:
        raise InfraError(
            f"no firmware of an NPU in {folder}/amdnpu", hint="install linux-firmware (Debian: firmware-misc-nonfree)"
        )
    return tuple((f"amdnpu/{path.parent.name}/{_plain(path)}", _content(path)) for path in names)


def _plain(path: Path) -> str:
    return path.name if path.suffix == ".sbin" else path.stem


def _content(path: Path) -> bytes:
    try:
        if path.suffix == ".xz":
            return lzma.decompress(path.read_bytes())
        if path.suffix == ".zst":
            return _zstd(path)
        return path.read_bytes()
    except (OSError, lzma.LZMAError) as error:
        raise InfraError(f"cannot read {path}: {error}", hint="install linux-firmware anew") from error


def _zstd(path: Path) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain"
        proc.run(["zstd", "-q", "-d", str(path), "-o", str(plain)], what=f"unpacking {path}", timeout=UNPACK_SECONDS)
        return plain.read_bytes()
