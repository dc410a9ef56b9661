# SPDX-License-Identifier: GPL-2.0-only
"""The guest's end of the port, with a host of a few lines at the other end of a socket."""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.guest import port as ports
from harness.guest.npu import Npu, buffers
from harness.guest.port import Link, Port, PortError

Host = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture
def ends() -> Iterator[tuple[Port, socket.socket]]:
    guest, host = socket.socketpair()
    with guest, host:
        yield Port(guest.fileno()), host


def answer(host: socket.socket, reply: Host, count: int) -> threading.Thread:
    """Answer ``count`` lines in a thread."""

    def serve() -> None:
        with host.makefile("rw") as stream:
            for _ in range(count):
                message = json.loads(stream.readline())
                stream.write(json.dumps(reply(message)) + "\n")
                stream.flush()

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_lines_in_pieces(ends: tuple[Port, socket.socket]) -> None:
    port, host = ends
    host.sendall(b'{"a":1}\n{"b"')
    assert port.receive(1) == {"a": 1}
    host.sendall(b":2}\n")
    assert port.receive(1) == {"b": 2}


def test_long_lines_are_whole(ends: tuple[Port, socket.socket]) -> None:
    port, host = ends
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(host.makefile().readline()))
    reader.start()
    port.send({"text": "x" * 500_000})
    reader.join()
    assert json.loads(got[0]) == {"text": "x" * 500_000}
    assert not port.busy


def test_silence_ends(ends: tuple[Port, socket.socket]) -> None:
    with pytest.raises(PortError, match="in time"):
        ends[0].receive(0.05)


def test_events_are_numbered_and_acknowledged(ends: tuple[Port, socket.socket]) -> None:
    port, host = ends
    seen: list[dict[str, Any]] = []

    def reply(message: dict[str, Any]) -> dict[str, Any]:
        seen.append(message)
        return {"ack": message["seq"], "value": message["event"]}

    thread = answer(host, reply, 2)
    link = Link(port, boot=3, attempt=1)
    assert link.event("test-start", id="a") == "test-start"
    assert link.ask("npu.log", since=4) == "ask"
    thread.join()
    assert [(m["seq"], m["boot"], m["attempt"], m["event"]) for m in seen] == [
        (1, 3, 1, "test-start"),
        (2, 3, 1, "ask"),
    ]
    assert seen[1]["what"] == "npu.log"
    assert seen[1]["args"] == {"since": 4}
    assert seen[0]["uptime"] > 0


@pytest.mark.parametrize(
    ("reply", "text"),
    [({"ack": 7}, "answered with"), ({"ack": 1, "error": "no such rule"}, "no such rule"), ({}, "answered with")],
)
def test_wrong_answers(ends: tuple[Port, socket.socket], reply: dict[str, Any], text: str) -> None:
    port, host = ends
    thread = answer(host, lambda _: reply, 1)
    with pytest.raises(PortError, match=text):
        Link(port, 0, 0).event("suite-start")
    thread.join()


def test_no_ack_is_the_hosts_fault(ends: tuple[Port, socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports.Port, "patience", 0.05)
    with pytest.raises(PortError):
        Link(ends[0], 0, 0).event("suite-start")


def test_npu_reads_its_log() -> None:
    log = [
        {"n": 5, "event": "boot"},
        {
            "n": 6,
            "opcode": 0x106,
            "name": "MAP_HOST_BUFFER",
            "request": {"context_id": 1, "buf_addr": 2, "buf_size": 3},
        },
        {"n": 7, "event": "heap-error"},
        {"n": 8, "opcode": 3, "name": "DESTROY_CONTEXT", "request": {}},
    ]
    asked: list[tuple[str, dict[str, Any]]] = []

    def ask(what: str, **arguments: Any) -> Any:
        asked.append((what, arguments))
        return [entry for entry in log if int(str(entry["n"])) > arguments.get("since", 0)]

    npu = Npu(ask)
    assert npu.mark() == 8
    assert buffers(npu.messages(5, "MAP_HOST_BUFFER")) == [(1, 2, 3)]
    assert [entry["n"] for entry in npu.messages(0)] == [6, 8]
    assert [entry["n"] for entry in npu.trouble(0)] == [7]
    npu.script({"opcode": "ADD_HOST_BUFFER", "drop": True})
    assert asked[-1] == ("npu.script", {"rules": [{"opcode": "ADD_HOST_BUFFER", "drop": True}]})


def test_a_port_that_was_unplugged_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vport0p1").write_bytes(b'{"old":1}\n')
    fd = os.open(tmp_path / "vport0p1", os.O_RDWR)
    read, unplugged = os.read, [True]

    def fails_once(number: int, size: int) -> bytes:
        if unplugged:
            unplugged.clear()
            (tmp_path / "vport0p1").unlink()
            (tmp_path / "vport0p1").write_bytes(b'{"new":1}\n')
            raise OSError(errno.ENODEV, "unplugged")
        return read(number, size)

    monkeypatch.setattr(os, "read", fails_once)
    assert Port(fd).receive(1) == {"new": 1}
    os.close(fd)


def test_a_port_that_stays_away(tmp_path: Path) -> None:
    (tmp_path / "vport0p1").touch()
    fd = os.open(tmp_path / "vport0p1", os.O_RDWR)
    (tmp_path / "vport0p1").unlink()
    with pytest.raises(PortError, match="does not come back"):
        ports.reopen(fd, 0.05)
    os.close(fd)
