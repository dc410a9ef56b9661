# SPDX-License-Identifier: GPL-2.0-only
"""What becomes of a record that the disk does not take."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InfraError
from harness.host.recorder import Recorder, cut_back, sizes


def test_a_full_disk_is_said_once_and_in_words(tmp_path: Path) -> None:
    """Who closes the file in the end has nothing to add, and must not hide what was said."""
    records = Recorder(tmp_path / "results.jsonl")
    records._stream.close()
    with Path("/dev/full").open("a") as full:
        records._stream = full
        with pytest.raises(InfraError, match="No space left on device"):
            records.add({"event": "boot"})
        records.close()
    assert records.events == []
    assert full.closed


def test_what_was_added_since_can_be_forgotten(tmp_path: Path) -> None:
    old, new = Recorder(tmp_path / "run.jsonl"), tmp_path / "head" / "results.jsonl"
    old.add({"event": "begun"})
    before = sizes(tmp_path)
    old.add({"event": "lane"})
    Recorder(new).add({"event": "stage"})
    cut_back(tmp_path, before)
    old.close()
    assert Recorder(tmp_path / "run.jsonl").events == [{"event": "begun"}]
    assert Recorder(new).events == []
