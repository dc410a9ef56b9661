# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.host import console
from harness.host.console import CommandConsole, Console, NetConsole


def wait_until(what: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "nothing came in time"
        time.sleep(0.02)


def test_a_mark_leaves_out_what_was_before(tmp_path: Path) -> None:
    heard = Console(tmp_path / "console")
    assert heard.since_mark() == ""
    heard.path.write_bytes(b"old\r\n")
    heard.mark()
    with heard.path.open("ab") as stream:
        stream.write(b"\x1b[31mnew\x1b[0m \xff\r\n")
    assert heard.since_mark() == "new �\n"


def test_of_very_much_the_end_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "SHOWN_BYTES", 4)
    heard = Console(tmp_path / "console")
    heard.path.write_bytes(b"flood and end\n")
    assert heard.since_mark() == "end\n"


def test_a_command_is_heard_and_ended(tmp_path: Path) -> None:
    command = f"echo $$ > {tmp_path}/pid; echo first; exec sleep 1000"
    heard = CommandConsole(command, tmp_path / "console")
    wait_until(lambda: "first" in heard.since_mark())
    process = Path("/proc", (tmp_path / "pid").read_text().strip())
    heard.close()
    heard.close()
    wait_until(lambda: not process.exists() or "Z" in (process / "stat").read_text().rpartition(")")[2])


def test_a_command_that_ends_is_said_and_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_AGAIN", console._AGAIN.replace("sleep 5", "sleep 0.1"))
    heard = CommandConsole("echo hello; exit 7", tmp_path / "console")
    wait_until(lambda: heard.since_mark().count("hello") > 1)
    heard.close()
    assert "ended with status 7" in heard.since_mark()


def test_a_command_finds_its_input_open(tmp_path: Path) -> None:
    """ipmitool ends where its input ends."""
    heard = CommandConsole("echo ready; cat; echo gone", tmp_path / "console")
    wait_until(lambda: "ready" in heard.since_mark())
    time.sleep(0.3)
    said = heard.since_mark()
    heard.close()
    assert "gone" not in said


def test_nothing_of_it_outlives_us(tmp_path: Path) -> None:
    """As after kill -9: only our end of its input is gone."""
    heard = CommandConsole(f"sh -c 'echo $$ > {tmp_path}/pid; sleep 1000; :'", tmp_path / "console")
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
    process = Path("/proc", (tmp_path / "pid").read_text().strip())
    assert process.exists()
    assert heard._process is not None
    assert heard._process.stdin is not None
    heard._process.stdin.close()
    wait_until(lambda: not process.exists() or "Z" in (process / "stat").read_text().rpartition(")")[2])
    heard.close()


def send(port: int, data: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(data, ("127.0.0.1", port))


def test_datagrams_are_heard(tmp_path: Path) -> None:
    heard = NetConsole("127.0.0.1", 0, tmp_path / "console")
    send(heard.port, b"[   12.3] one\n")
    wait_until(lambda: "one" in heard.since_mark())
    heard.mark()
    send(heard.port, b"[   12.4] two\n")
    wait_until(lambda: heard.since_mark() == "[   12.4] two\n")
    heard.close()


def test_a_stranger_is_not_heard(tmp_path: Path) -> None:
    heard = NetConsole("127.0.0.1", 0, tmp_path / "console", source="127.0.0.2")
    send(heard.port, b"stranger\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as known:
        known.bind(("127.0.0.2", 0))
        known.sendto(b"known\n", ("127.0.0.1", heard.port))
    wait_until(heard.since_mark)
    heard.close()
    assert heard.since_mark() == "known\n"


def test_a_flood_fills_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "MOST_BYTES", 10)
    heard = NetConsole("127.0.0.1", 0, tmp_path / "console")
    for _ in range(50):
        send(heard.port, b"12345678\n")
    wait_until(heard.since_mark)
    heard.close()
    assert heard.path.stat().st_size < 30


def test_an_address_of_nobody_here(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot listen for netconsole at 192\.0\.2\.1 port 6666"):
        NetConsole("192.0.2.1", 6666, tmp_path / "console")
