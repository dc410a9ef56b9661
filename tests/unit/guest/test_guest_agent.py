# SPDX-License-Identifier: GPL-2.0-only
"""The agent's commands and a whole suite run, with a host of a few lines at the other end of a socket."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.guest import agent as agents
from harness.guest import kmsg, plugin
from harness.guest.agent import Agent
from harness.guest.port import Port

SUITE = """
import os, time
import pytest
from harness.guest.expect import works
from harness.guest.port import PortError

def test_one(measure):
    measure("time", 1.5, "s")

def test_two():
    with works("second chunk"):
        raise OSError(16, "busy")

def test_skipped():
    pytest.skip("npu1: only npu4")

@pytest.fixture
def driver_says_no():
    raise OSError(22, "no")

@pytest.fixture
def our_bug():
    raise TypeError("ours")

@pytest.fixture
def port_is_gone():
    raise PortError("gone")

def test_setup_refused(driver_says_no): pass
def test_setup_broken(our_bug): pass
def test_port_broken(port_is_gone): pass
def test_slow(): time.sleep(20)
"""


class Host:
    """Sends commands, acknowledges events and keeps them."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream.makefile("rw")
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def command(self, name: str, **arguments: object) -> dict[str, Any]:
        self._number += 1
        self._send({"cmd": name, "id": self._number, **arguments})
        while True:
            message: dict[str, Any] = json.loads(self._stream.readline())
            if "done" in message:
                assert message["done"] == self._number
                return message
            self.events.append(message)
            self._send({"ack": message["seq"]})

    def _send(self, message: dict[str, Any]) -> None:
        self._stream.write(json.dumps(message) + "\n")
        self._stream.flush()

    def ends(self) -> dict[str, dict[str, Any]]:
        """The test-end events by the test's name."""
        return {e["id"].partition("::")[2]: e for e in self.events if e["event"] == "test-end"}


@pytest.fixture(autouse=True)
def as_in_a_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which has none of the plug-ins that happen to be installed here."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    guest_end, host_end = socket.socketpair()
    agent = Agent(Port(guest_end.fileno()), tmp_path)
    thread = threading.Thread(target=agent.live)
    with guest_end, host_end:
        thread.start()
        host = Host(host_end)
        yield host
        host.command("poweroff")
        thread.join()


def test_files(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "folder/file"
    data = base64.b64encode(b"\0content").decode()
    assert host.command("put", path=str(path), data=data, mode=0o600)["value"] is None
    assert path.read_bytes() == b"\0content"
    assert path.stat().st_mode & 0o777 == 0o600
    assert host.command("get", path=str(path))["value"] == data


def test_errors_are_answers(host: Host, tmp_path: Path) -> None:
    assert "FileNotFoundError" in host.command("get", path=str(tmp_path / "missing"))["error"]
    assert "unknown command 'dance'" in host.command("dance")["error"]
    assert "KeyError" in host.command("put")["error"]
    assert "Error" in host.command("load", modules=[{"path": "missing.ko"}])["error"]


def test_run_in_the_main_thread_only(tmp_path: Path) -> None:
    agent = Agent(Port(-1), tmp_path)
    done = agent.run({"argv": ["sh", "-c", "echo out; echo err >&2; exit 3"], "timeout": 10})
    assert done == {"status": 3, "output": "out\nerr\n"}
    late = agent.run({"argv": ["sh", "-c", "echo begun; sleep 30"], "timeout": 0.3})
    assert late == {"status": 124, "output": "begun\n"}


def test_carveout_is_found_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "0000:00:05.0").mkdir()
    path = tmp_path / "0000:00:05.0/carveout"
    path.write_text("")
    agents.set_carveout("ro memmap=640M$0x30000000 panic=-1", tmp_path)
    assert path.read_text() == "0x28000000@0x30000000"


@pytest.fixture(autouse=True)
def no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the agent's program does; labgrid's, where it is installed, starts only once in a process."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def prepare(home: Path, monkeypatch: pytest.MonkeyPatch, name: str = "test_it.py") -> None:
    """The suite above, and a kernel's log with nothing in it. A name is imported once in this process."""
    log = home / "kmsg"
    log.write_bytes(b"")
    monkeypatch.setattr(kmsg.Reader.__init__, "__defaults__", (str(log),))
    monkeypatch.setattr(plugin, "CLEANUP_SECONDS", 0.3)
    folder = home / "tests/target"
    folder.mkdir(parents=True)
    (folder / name).write_text(SUITE)


@pytest.fixture
def finished(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host that has run the suite above."""
    prepare(tmp_path, monkeypatch)
    names = ["port_broken", "two", "one", "skipped", "setup_refused", "setup_broken", "slow", "missing"]
    tests = [f"test_it.py::test_{name}" for name in names]
    done = host.command("suite", tests=tests, k=None, boot=2, attempt=1, limit=0.2)
    assert done["value"] == 1, (tmp_path / "suite.log").read_text()
    return host


def test_suite(finished: Host) -> None:
    events = finished.events
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert {(event["boot"], event["attempt"]) for event in events} == {(2, 1)}
    assert events[0]["event"] == "suite-start"
    assert [test.partition("_")[2].partition("::test_")[2] for test in events[0]["tests"]][:3] == [
        "port_broken",
        "two",
        "one",
    ]
    assert (events[-1]["event"], events[-1]["status"]) == ("suite-end", 1)
    outcomes = {name: (end["outcome"], end["phase"]) for name, end in finished.ends().items()}
    assert outcomes == {
        "test_port_broken": ("error", "setup"),
        "test_two": ("fail", "call"),
        "test_one": ("pass", "call"),
        "test_skipped": ("skip", "call"),
        "test_setup_refused": ("fail", "setup"),
        "test_setup_broken": ("error", "setup"),
        "test_slow": ("fail", "call"),
    }
    ends = finished.ends()
    assert ends["test_two"]["text"].startswith("AssertionError: second chunk: expected success, got EBUSY\n")
    assert "test_it.py" in ends["test_two"]["text"]
    assert "-packages/" not in ends["test_two"]["text"], "frames of pytest are left"
    assert ends["test_skipped"]["text"] == "npu1: only npu4"
    assert "not finished after 0.3 s" in ends["test_slow"]["text"]
    assert "test_it.py" in ends["test_slow"]["text"], "the stack is missing"
    assert ends["test_slow"]["duration"] < 15
    assert ends["test_one"]["measures"] == {"time": {"value": 1.5, "unit": "s"}}
    assert set(ends["test_one"]["counters"]) == {"before", "after"}


def test_a_suite_may_end_with_the_first_failure(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path, monkeypatch, "test_halt.py")
    tests = [f"test_halt.py::test_{name}" for name in ("one", "two", "skipped")]
    host.command("suite", tests=tests, k=None, boot=2, attempt=1, limit=0.2, halting=True)
    assert list(host.ends()) == ["test_one", "test_two"]
    assert host.events[-1]["event"] == "suite-end"


def test_suite_that_does_not_import(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "kmsg"
    log.write_bytes(b"")
    monkeypatch.setattr(kmsg.Reader.__init__, "__defaults__", (str(log),))
    folder = tmp_path / "tests/target"
    folder.mkdir(parents=True)
    (folder / "test_broken.py").write_text("import nonsense_that_is_not_there\n")
    assert host.command("suite", tests=None, limit=5)["value"] == 2
    assert "nonsense_that_is_not_there" in host.events[-1]["text"]
