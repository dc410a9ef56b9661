# SPDX-License-Identifier: GPL-2.0-only
"""A note is whole, or as it was; what cannot be read is not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.errors import InfraError
from harness.host import notes, sources
from harness.host.qemu import _private
from harness.host.store import Store


def test_a_note_is_read_as_it_was_written(tmp_path: Path) -> None:
    note = tmp_path / "note"
    notes.write(note, "one")
    notes.write(note, '{"a": 1}')
    assert notes.read(note) == '{"a": 1}'
    assert notes.read_json(note) == {"a": 1}
    assert list(tmp_path.iterdir()) == [note]


@pytest.mark.parametrize("left", [None, b"", b'{"a": ', b"\0" * 16, b"\xff\xfe"])
def test_what_was_cut_off_is_not_there(tmp_path: Path, left: bytes | None) -> None:
    note = tmp_path / "note"
    if left is not None:
        note.write_bytes(left)
    assert notes.read_json(note) is None
    assert notes.read(note) in ("", '{"a": ')


def test_on_a_full_disk_the_old_note_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    note = tmp_path / "note"
    notes.write(note, "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InfraError, match="No space left"):
        notes.write(note, "new")
    assert notes.read(note) == "old"
    assert list(tmp_path.iterdir()) == [note]


def test_an_empty_note_does_not_name_the_folder_of_all_sources(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "sources/first").mkdir(parents=True)
    note = tmp_path / "sources/content-abc"
    note.write_text("")
    assert sources._first("first", "abc", store) == "first"
    assert note.read_text() == "first"
    assert sources._first("second", "abc", store) == "first"


def test_a_qemu_whose_note_was_cut_off_is_looked_for_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Asked(Exception):
        pass

    def ask(_: Store) -> None:
        raise Asked

    monkeypatch.setattr("harness.host.qemu.PrivateApt", ask)
    (tmp_path / "prefixes").mkdir()
    (tmp_path / "prefixes/qemu.json").write_text('{"key": "')
    with pytest.raises(Asked):
        _private(Store(tmp_path))
