# SPDX-License-Identifier: GPL-2.0-only
"""What a driver counted, on a folder that looks like debugfs."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path

import pytest

from harness.guest import gcov


def test_the_counts_of_all_files(tmp_path: Path) -> None:
    folder = tmp_path / gcov.FOLDER / "obj"
    folder.mkdir(parents=True)
    (folder / "aie2_ctx.gcda").write_bytes(b"counts")
    (folder / "aie2_ctx.gcno").write_bytes(b"not counts")
    found = gcov.counts(f"{tmp_path}/")
    assert {name: zlib.decompress(base64.b64decode(text)) for name, text in found.items()} == {
        "aie2_ctx.gcda": b"counts"
    }


def test_a_reset_is_an_order_to_the_kernel(tmp_path: Path) -> None:
    (tmp_path / gcov.FOLDER).mkdir(parents=True)
    (tmp_path / gcov.FOLDER / "reset").write_text("")
    gcov.reset(f"{tmp_path}/")
    assert (tmp_path / gcov.FOLDER / "reset").read_text() == "1"


def test_a_kernel_that_counts_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        gcov.reset(f"{tmp_path}/")
