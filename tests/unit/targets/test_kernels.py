# SPDX-License-Identifier: GPL-2.0-only
"""What is installed on a machine, by a real sh."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from harness.errors import InfraError
from harness.formats.lab_host import read
from harness.targets.ssh import kernels
from harness.targets.ssh.kernels import INITRAMFS, There
from harness.targets.ssh.machine import Machine
from tests.unit.targets.played import Shell

SAID = (Path(__file__).parents[2] / "data/lab-host.json").read_text()
RELEASE = "7.3.4-xdna-0a"


@pytest.mark.parametrize("tool", INITRAMFS)
def test_an_initramfs_that_was_cut_off_is_none(tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk was full, or the machine went down."""
    monkeypatch.setattr(kernels, "HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    there = There(RELEASE, "", str(tmp_path / "home/initrd"))
    found = read(SAID)
    assert found is not None
    host = replace(found, initramfs=tool)

    def make(then: str) -> None:
        writes = f'echo "$word" >> {tmp_path}/asked; echo half > "$word"'
        words = f'for word; do case "$word" in */initrd*) {writes};; esac; done'
        (tmp_path / tool).write_text(f"#!/bin/sh\n{words}\n{then}\n")
        (tmp_path / tool).chmod(0o755)
        kernels._make_initramfs(cast(Machine, Shell()), host, there)

    with pytest.raises(InfraError):
        make("exit 1")
    assert not Path(there.initrd).exists()
    make("exit 0")
    assert Path(there.initrd).read_text() == "half\n"
    make("exit 1")
    assert len((tmp_path / "asked").read_text().split()) == 2, "it is made once"
