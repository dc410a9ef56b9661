# SPDX-License-Identifier: GPL-2.0-only
"""The cache gives up what nobody used for longest."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from harness.host import store as store_module
from harness.host.store import Store


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fill(folder: Path) -> None:
        (folder / "data").write_bytes(b"x" * 100_000)

    for age, key in enumerate(("newest", "middle", "oldest")):
        entry = store.get("guests", key, fill)
        os.utime(entry, (1000 - age, 1000 - age))
    assert store.trim("guests", 250_000) == 1
    assert {key for key in ("newest", "middle", "oldest") if store.has("guests", key)} == {"newest", "middle"}
    assert store.trim("guests", 250_000) == 0


def test_what_another_process_throws_away_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    for name in ("old", "gone", "new"):
        (tmp_path / "guests" / name).mkdir(parents=True)
        (tmp_path / "guests" / name / "memory").write_bytes(bytes(1 << 16))
    size = store_module.size_of

    def vanishing(folder: Path) -> int:
        if folder.name == "gone":
            shutil.rmtree(folder)
            return folder.stat().st_size
        return size(folder)

    monkeypatch.setattr(store_module, "size_of", vanishing)
    os.utime(tmp_path / "guests/old", (1, 1))
    assert store.trim("guests", 1 << 16) == 1
    assert [path.name for path in (tmp_path / "guests").iterdir()] == ["new"]
