# SPDX-License-Identifier: GPL-2.0-only
"""cpio archives, read back by Python's own eyes and, where it is there, by cpio(1)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.formats import cpio


def members(data: bytes) -> dict[str, tuple[int, bytes]]:
    """Name to (mode, contents)."""
    found: dict[str, tuple[int, bytes]] = {}
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name = data[at + 110 : at + 110 + fields[11] - 1].decode()
        at += (110 + fields[11] + 3) & ~3
        if name == "TRAILER!!!":
            return found
        found[name] = (fields[1], data[at : at + fields[6]])
        at += (fields[6] + 3) & ~3


def test_members_come_back() -> None:
    data = cpio.archive(
        [
            cpio.directory("lib"),
            cpio.file("lib/a", b"12345", 0o755),
            cpio.symlink("lib/b", "a"),
            cpio.character_device("dev-console", 5, 1),
        ]
    )
    assert len(data) % 512 == 0
    assert members(data) == {
        "lib": (0o40755, b""),
        "lib/a": (0o100755, b"12345"),
        "lib/b": (0o120777, b"a"),
        "dev-console": (0o20600, b""),
    }


def test_the_same_entries_make_the_same_bytes() -> None:
    entries = [cpio.directory("d"), cpio.file("d/f", b"x")]
    assert cpio.archive(entries) == cpio.archive(list(entries))


@pytest.mark.parametrize("name", ["", "/etc/passwd", "a/../../b", "a\0b", "TRAILER!!!"])
def test_a_path_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cpio member"):
        cpio.archive([cpio.file(name, b"")])


@pytest.mark.skipif(shutil.which("cpio") is None, reason="cpio is not installed")
def test_cpio_reads_it(tmp_path: Path) -> None:
    data = cpio.archive([cpio.directory("d"), cpio.file("d/f", b"hello\n", 0o640)])
    subprocess.run(["cpio", "-i", "--quiet"], input=data, cwd=tmp_path, check=True, timeout=20)
    assert (tmp_path / "d/f").read_bytes() == b"hello\n"
    assert (tmp_path / "d/f").stat().st_mode & 0o777 == 0o640
