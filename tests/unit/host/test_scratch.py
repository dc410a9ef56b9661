# SPDX-License-Identifier: GPL-2.0-only
"""What a killed run leaves in the temporary folder goes with the next one, and nothing else."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest

from harness.host import scratch


def test_only_what_a_dead_process_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with subprocess.Popen(["true"]) as dead:
        pass
    left = tmp_path / f"xdna-{dead.pid}-abc"
    left.mkdir()
    (left / "qmp").write_text("")
    ours = scratch.socket_folder()
    others = [tmp_path / "xdna-presubmit-x", tmp_path / "somebody", ours]
    for path in others:
        path.mkdir(exist_ok=True)
    assert scratch.sweep() == [left]
    assert not left.exists()
    assert all(path.is_dir() for path in others)
