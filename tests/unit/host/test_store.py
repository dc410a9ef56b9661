# SPDX-License-Identifier: GPL-2.0-only
"""The cache gives up what nobody used for longest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
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


def entry_of(store: Store) -> Path:
    """An old entry of two files, made."""

    def fill(folder: Path) -> None:
        (folder / "one").write_bytes(bytes(10_000))
        (folder / "two").write_bytes(bytes(10_000))

    path = store.get("guests", "key", fill)
    os.utime(path, (1, 1))
    return path


WAYS: list[Callable[[Store], object]] = [
    lambda store: store.discard("guests", "key"),
    lambda store: store.trim("guests", 0),
    lambda store: store.spare(1 << 62),
    lambda store: store.clean(),
]


@pytest.mark.parametrize("way", WAYS, ids=["discard", "trim", "spare", "clean"])
def test_who_is_interrupted_leaves_no_half_of_an_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Callable[[Store], object]
) -> None:
    store = Store(tmp_path)
    path = entry_of(store)
    remove = shutil.rmtree

    def interrupted(folder: Path, ignore_errors: bool = False) -> None:
        next(Path(folder).rglob("one")).unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        way(store)
    assert not path.exists()
    assert list(tmp_path.rglob("two")), "it had begun"
    monkeypatch.setattr(shutil, "rmtree", remove)
    assert (entry_of(store) / "one").exists()
    store.trim("guests", 1 << 30)
    assert list(tmp_path.rglob("two")) == [path / "two"], "what is left is swept"


def test_what_cannot_be_renamed_is_deleted_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    store = Store(tmp_path)
    path = entry_of(store)
    monkeypatch.setattr(Path, "rename", full)
    store.discard("guests", "key")
    assert not path.exists()


def test_a_note_about_entries_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    entry_of(store)
    (tmp_path / "guests/note.json").write_text("{}")
    assert store.trim("guests", 0) == 1
    assert (tmp_path / "guests/note.json").exists()
