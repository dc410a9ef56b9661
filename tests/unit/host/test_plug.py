# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from harness.host import plug
from harness.host.qmp import Monitor


class Machine:
    """QEMU's monitor, as far as the plug asks it."""

    def __init__(self, running: bool) -> None:
        self.running = running
        self.did: list[str] = []

    def command(self, name: str) -> object:
        if name == "query-status":
            return {"running": self.running}
        self.did.append(name)
        self.running = {"stop": False, "cont": True}.get(name, self.running)
        return {}


@pytest.mark.parametrize(
    ("running", "what", "did", "then"),
    [
        (True, "status", [], "on"),
        (False, "status", [], "off"),
        (True, "on", [], "on"),
        (False, "on", ["system_reset", "cont"], "on"),
        (True, "off", ["stop"], "off"),
        (True, "cycle", ["stop", "system_reset", "cont"], "on"),
        (False, "cycle", ["stop", "system_reset", "cont"], "on"),
    ],
)
def test_it_does_what_a_socket_does(
    running: bool, what: str, did: list[str], then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plug, "OFF_SECONDS", 0.0)
    machine = Machine(running)
    assert plug.act(cast(Monitor, machine), what) == then
    assert machine.did == did


def test_nobody_behind_it_is_an_exit_status(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "harness.host.plug", str(tmp_path / "nobody"), "on"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "QEMU's monitor does not answer" in done.stderr
