# SPDX-License-Identifier: GPL-2.0-only
"""What becomes of a record that the disk does not take."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InfraError
from harness.host.recorder import Recorder


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
