# SPDX-License-Identifier: GPL-2.0-only
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import InfraError
from harness.host import toolchain


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    toolchain.version.cache_clear()
    yield
    toolchain.version.cache_clear()


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(toolchain, "PROGRAMS", (str(tmp_path / "gcc"),))
    with pytest.raises(InfraError, match="gcc"):
        toolchain.version()


def test_the_version_names_compiler_linker_and_make() -> None:
    if not all(shutil.which(program) for program in toolchain.PROGRAMS):
        pytest.skip("no toolchain here")
    machine, gcc, ld, make = toolchain.version().splitlines()
    assert machine
    assert "gcc" in gcc
    assert "ld" in ld
    assert "Make" in make
