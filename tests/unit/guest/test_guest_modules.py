# SPDX-License-Identifier: GPL-2.0-only
"""Build-ids from ELF notes, and modules that are none."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from harness.guest import modules


def note(name: bytes, kind: int, data: bytes) -> bytes:
    def pad(part: bytes) -> bytes:
        return part + bytes(-len(part) % 4)

    return struct.pack("<III", len(name), len(data), kind) + pad(name) + pad(data)


BUILD_ID = bytes(range(20))


@pytest.mark.parametrize(
    "data",
    [
        note(b"GNU\0", 3, BUILD_ID),
        note(b"Linux\0", 0x101, b"abc") + note(b"GNU\0", 3, BUILD_ID),
        note(b"GNU\0", 5, b"12345") + note(b"GNU\0", 3, BUILD_ID) + b"\0",
    ],
)
def test_build_id(data: bytes) -> None:
    assert modules.parse_build_id(data) == BUILD_ID.hex()


@pytest.mark.parametrize("data", [b"", b"short", note(b"Linux\0", 3, BUILD_ID), note(b"GNU\0", 4, BUILD_ID)])
def test_no_build_id(data: bytes) -> None:
    assert modules.parse_build_id(data) == ""


def test_notes_folder(tmp_path: Path) -> None:
    (tmp_path / ".note.Linux").write_bytes(note(b"Linux\0", 0x101, b""))
    (tmp_path / ".note.gnu.build-id").write_bytes(note(b"GNU\0", 3, BUILD_ID))
    assert modules.build_id(tmp_path) == BUILD_ID.hex()
    assert modules.build_id(tmp_path / "missing") == ""


def test_what_is_no_module(tmp_path: Path) -> None:
    path = tmp_path / "no-module.ko"
    path.write_bytes(b"no ELF file")
    with pytest.raises(OSError, match=r"loading no-module\.ko") as caught:
        modules.load(path)
    if os.geteuid():
        assert isinstance(caught.value, PermissionError)
