# SPDX-License-Identifier: GPL-2.0-only
"""What travels to the guest: the suite with the data that it reads, and nothing that it does not."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from harness.host.data import data_folder
from harness.host.payload import Payload
from harness.model.kernel import Kernel, Module, Profile
from harness.model.variant import Variant


def test_the_suite_travels_with_its_traces(tmp_path: Path) -> None:
    suite = tmp_path / "suite"
    (suite / "traces").mkdir(parents=True)
    (suite / "traces/small.json").write_text("{}")
    (suite / "test_x.py").write_text("")
    (suite / "test_x.pyc").write_bytes(b"")
    kernel = Kernel("k", "7.3.4-k", Profile.PLAIN, tmp_path, (), tmp_path, tmp_path)
    payload = Payload(Module("m", kernel, (), "", "", tmp_path), data_folder("harness"), suite, Variant())
    with tarfile.open(fileobj=io.BytesIO(payload.common())) as tar:
        names = set(tar.getnames())
    assert {name for name in names if name.startswith("tests/")} == {
        "tests/target/test_x.py",
        "tests/target/traces/small.json",
    }
    assert "harness/guest/replay.py" in names
