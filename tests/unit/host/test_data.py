# SPDX-License-Identifier: GPL-2.0-only
"""Where the project's data is: in a clone beside the package, in a wheel inside of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.host import data


def test_a_clone_has_it_beside_the_package() -> None:
    assert data.data_folder("tests/target").is_dir()
    assert (data.data_folder("harness") / "errors.py").is_file()


def test_a_wheel_has_it_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages/harness"
    (tmp_path / "site-packages/tests/target").mkdir(parents=True)  # somebody else's
    for name in ("vm-images", "tests/target"):
        (package / "_data" / name).mkdir(parents=True)
    monkeypatch.setattr(data, "PACKAGE", package)
    assert data.data_folder("tests/target") == package / "_data/tests/target"


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="no-such"):
        data.data_folder("no-such")
