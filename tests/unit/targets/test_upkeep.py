# SPDX-License-Identifier: GPL-2.0-only
"""What is taken away from a machine before and after a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from harness.formats.lab_host import read
from harness.targets.ssh.machine import Machine
from harness.targets.ssh.upkeep import Upkeep

SAID = (Path(__file__).parents[2] / "data/lab-host.json").read_text()


@pytest.mark.parametrize(
    ("folder", "goes"),
    [
        ("/tmp/xdna-Ab3dEf9h", True),
        ("/tmp/xdna-`reboot`", False),
        ("/tmp/xdna-;reboot;", False),
        ("/tmp/xdna-firmwares", False),
        ("/tmp/xdna-Ab3dEf9h\n", False),
        ("/tmp/xdna-../../home", False),
    ],
)
def test_a_folders_name_is_no_command_of_roots(folder: str, goes: bool) -> None:
    done: list[str] = []
    found = read(SAID)
    assert found is not None
    host = replace(found, left=(folder,), users=(), clock=0.0)
    machine = SimpleNamespace(name="box", host=lambda: host, note=print, do=lambda what, script: done.append(script))
    Upkeep(cast(Machine, machine)).first()
    assert done == ([f"rm -rf -- {folder}"] if goes else [])
