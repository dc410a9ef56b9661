# SPDX-License-Identifier: GPL-2.0-only
"""What is taken away from a machine before and after a run."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from harness.formats.lab_host import read
from harness.targets.ssh.machine import Machine
from harness.targets.ssh.upkeep import OWN_DRIVER, TAKE_OURS, Upkeep

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
    machine = SimpleNamespace(
        name="box",
        host=lambda: host,
        note=print,
        do=lambda what, script: done.append(script),
        root=lambda script, seconds: (1, ""),
    )
    Upkeep(cast(Machine, machine)).first()
    assert done == ([f"rm -rf -- {folder}"] if goes else [])


@pytest.mark.parametrize(
    ("loaded", "boots", "modprobe", "asked", "told"),
    [
        (True, False, 0, True, False),
        (True, False, 1, True, True),
        (True, True, 0, True, False),
        (False, False, 1, False, False),
    ],
    ids=["comes back", "does not", "has booted since, and had ours again", "had none"],
)
@pytest.mark.parametrize("ours", [True, False])
def test_the_machines_own_driver_comes_back(
    ours: bool, loaded: bool, boots: bool, modprobe: int, asked: bool, told: bool
) -> None:
    done: list[str] = []
    notes: list[str] = []
    found = read(SAID)
    assert found is not None
    host = replace(found, left=(), users=(), clock=0.0, installed=())
    facts = SimpleNamespace(boot_id="1")

    def root(script: str, seconds: float) -> tuple[int, str]:
        done.append(script)
        if script == TAKE_OURS:
            return 0, ""
        return (0 if loaded else 1, "") if script.startswith("test") else (modprobe, "Operation not permitted")

    machine = SimpleNamespace(
        name="box", host=lambda: host, note=notes.append, root=root, ask=lambda: facts, do=lambda *words: ""
    )
    upkeep = Upkeep(cast(Machine, machine), gives_back=True)
    upkeep.first()
    upkeep.ours = "1" if ours else ""
    facts.boot_id = "2" if boots else "1"
    upkeep.last()
    assert (OWN_DRIVER in done) is asked
    assert (TAKE_OURS in done) is (ours and not boots)
    assert bool(notes) is told


def test_a_driver_under_test_that_does_not_go_is_told() -> None:
    notes: list[str] = []
    found = read(SAID)
    assert found is not None
    host = replace(found, left=(), users=(), clock=0.0, installed=())

    def root(script: str, seconds: float) -> tuple[int, str]:
        return (1, "rmmod: ERROR: Module amdxdna is in use") if script == TAKE_OURS else (0, "")

    facts = SimpleNamespace(boot_id="1")
    machine = SimpleNamespace(name="box", host=lambda: host, note=notes.append, root=root, ask=lambda: facts)
    machine.do = lambda *words: ""
    upkeep = Upkeep(cast(Machine, machine))
    upkeep.first()
    upkeep.ours = "1"
    upkeep.last()
    assert notes == ["box: the driver under test does not go: rmmod: ERROR: Module amdxdna is in use"]


@pytest.mark.parametrize("loaded", [True, False])
def test_a_driver_that_never_loaded_need_not_go(loaded: bool, tmp_path: Path) -> None:
    """A machine that refuses it must get its own one back."""
    there = tmp_path / "amdxdna"
    if loaded:
        there.mkdir()
    script = TAKE_OURS.replace("/sys/module/amdxdna", str(there)).replace("rmmod", "echo rmmod")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout == ("rmmod amdxdna\n" if loaded else "")


def test_one_that_is_booted_in_the_end_gets_no_driver_from_us() -> None:
    asked: list[str] = []
    found = read(SAID)
    assert found is not None
    host = replace(found, left=(), users=(), clock=0.0, installed=())
    machine = SimpleNamespace(name="box", host=lambda: host, note=print, ask=lambda: SimpleNamespace(boot_id="1"))

    def root(script: str, seconds: float) -> tuple[int, str]:
        asked.append(script)
        return 0, ""

    machine.root = root
    machine.do = lambda *words: ""
    upkeep = Upkeep(cast(Machine, machine))
    upkeep.first()
    upkeep.last()
    assert OWN_DRIVER not in asked
