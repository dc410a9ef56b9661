# SPDX-License-Identifier: GPL-2.0-only
"""Control socket, log file, and how the process ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.vfio_user.client import Client

if TYPE_CHECKING:
    from tests.unit.npu.conftest import Driver, Process

BREAKS = """
import sys, harness.npu.smu as smu, harness.npu.__main__ as main
def broken(*_): raise RuntimeError("broken on purpose")
smu.Smu._perform = broken
sys.exit(main.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "line",
    [
        b"{not json",
        b"[]",
        b"{}",
        b'{"cmd": "no-such"}',
        b'{"cmd": "device-table"}',
        b'{"cmd": "device-table", "base": 123}',
        b'{"cmd": "device-table", "base": 0}',
        b'{"cmd": "log", "since": "x"}',
        b'{"cmd": "script", "rules": {}}',
        b'{"cmd": "script", "rules": [{"opcode": "NO_SUCH", "status": 1}]}',
        b'{"cmd": "async-error", "row": 999}',
        b'{"cmd": "async-error", "colour": 1}',
        b'{"cmd": "protocol", "version": "new"}',
    ],
)
def test_a_wrong_control_line_is_an_error_answer(npu: Process, line: bytes) -> None:
    assert list(npu.line(line)) == ["error"]
    assert npu.ask("state")["npu"] == "npu4"


def test_the_log_is_the_same_in_file_and_memory(npu: Process) -> None:
    entries = npu.ask("log", since=0)
    lines = [json.loads(line) for line in (npu.folder / "npu.jsonl").read_text().splitlines()]
    assert lines[: len(entries)] == entries
    assert [entry["n"] for entry in entries] == list(range(1, len(entries) + 1))
    assert npu.ask("log", since=len(entries)) == []


@pytest.mark.parametrize("how", ["quit", "sigterm"])
def test_it_ends_cleanly(tmp_path: Path, start_process: Callable[..., Process], how: str) -> None:
    process = start_process(tmp_path)
    if how == "quit":
        process.ask("quit")
    else:
        process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait(5) == 0
    assert not (tmp_path / "npu").exists()
    assert not (tmp_path / "control").exists()
    process.close()


def test_an_exception_is_a_fault_with_its_traceback_and_status_70(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", BREAKS, "--socket", str(tmp_path / "npu"), "--control", str(tmp_path / "c")]
    popen = subprocess.Popen([*argv, "--log", str(tmp_path / "log")], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while not (tmp_path / "c").exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    client = Client(str(tmp_path / "npu"))
    client.write32(5, 0x900, 3)
    with pytest.raises((EOFError, ConnectionError)):
        client.write32(5, 0x0, 1)
    client.close()
    assert popen.wait(5) == 70
    last = json.loads((tmp_path / "log").read_text().splitlines()[-1])
    assert last["event"] == "fault"
    assert "broken on purpose" in last["what"]
    assert "Traceback" in last["what"]


def test_the_protocol_changes_with_the_next_start(npu: Process, driver: Driver) -> None:
    for version, announced in (("6.12", "6.12"), ("", "7.0")):
        npu.ask("protocol", version=version)
        since = npu.ask("state")["entries"]
        driver.start()
        started = [entry for entry in npu.ask("log", since=since) if entry.get("event") == "boot"]
        assert [entry["protocol"] for entry in started] == [announced]
