# SPDX-License-Identifier: GPL-2.0-only
"""The keeper as a process of its own, with an agent that echoes; connections by the relay, cut in the middle."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from harness.guest import keeper
from harness.guest.outbox import Outbox
from harness.guest.watchdog import Watchdog
from harness.host.port import PortClosed
from harness.host.resumed import Resumed
from harness.targets.ssh import home as there

ROOT = Path(__file__).parents[3]
KEEPER = """
import os, sys, time
from pathlib import Path
from harness.guest import keeper
from harness.guest.watchdog import Watchdog

keeper.Watchdog = lambda order: Watchdog(order, Path(sys.argv[1]).with_name("device"))

def live(fd, home):
    os.chdir(home)
    while piece := os.read(fd, 1 << 16):
        if piece.endswith(b"bye\\n"):
            os.write(fd, b"farewell\\n")
            return 0
        while piece:
            piece = piece[os.write(fd, piece):]
    return 0

sys.exit(keeper.main(Path(sys.argv[1]), float(sys.argv[2]), live, Path(sys.argv[3])))
"""
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}


class Relay:
    """A relay as a stream, which a test can cut."""

    def __init__(self, home: Path) -> None:
        argv = [sys.executable, "-m", "harness.guest.relay", str(home)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=ENV, bufsize=0)
        self._timeout: float | None = None

    def settimeout(self, value: float | None, /) -> None:
        self._timeout = value

    def recv(self, nbytes: int, /) -> bytes:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], self._timeout)[0]:
            raise TimeoutError
        return os.read(self.process.stdout.fileno(), nbytes)

    def sendall(self, data: bytes, /) -> None:
        assert self.process.stdin is not None
        view = memoryview(data)
        while view:
            view = view[os.write(self.process.stdin.fileno(), view) :]

    def close(self) -> None:
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        self.process.wait()


class Kept:
    """A keeper that runs, and the relays that led to it."""

    def __init__(self, home: Path, lock: Path) -> None:
        self.home = home
        self.lock = lock
        self.relays: list[Relay] = []
        self.notes: list[str] = []

    def start(self, linger: float = 30.0, home: Path | None = None) -> subprocess.CompletedProcess[str]:
        home = home or self.home
        argv = [sys.executable, "-c", KEEPER, str(home), str(linger), str(self.lock)]
        there = home if home.is_dir() else None
        return subprocess.run(argv, env=ENV, cwd=there, capture_output=True, text=True, timeout=30, check=False)

    def dial(self) -> Relay:
        self.relays.append(Relay(self.home))
        return self.relays[-1]

    def connect(self) -> Resumed:
        return Resumed(self.dial, self.notes.append)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    home = tmp_path / "home"
    home.mkdir()
    found = Kept(home, tmp_path / "lock")
    yield found
    for relay in found.relays:
        relay.close()


def receive(stream: Resumed, size: int) -> bytes:
    stream.settimeout(20)
    data = b""
    while len(data) < size:
        data += stream.recv(1 << 16)
    return data


def wait_for(what: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_cut_connection_loses_nothing(kept: Kept) -> None:
    assert kept.start().stdout == "ready\n"
    stream = kept.connect()
    sent = b""
    for number in range(200):
        line = json.dumps({"number": number, "text": "x" * 3000}).encode() + b"\n"
        sent += line
        stream.sendall(line)
        if number % 40 == 7:
            kept.relays[-1].process.kill()  # with as much under way as there is
    assert receive(stream, len(sent)) == sent
    assert kept.notes.count("and is back") >= 3
    stream.sendall(b"bye\n")
    assert receive(stream, 9) == b"farewell\n"


def test_who_went_away_finds_what_was_said_meanwhile(kept: Kept) -> None:
    kept.start()
    stream = kept.connect()
    stream.sendall(b"one\n")
    time.sleep(0.5)
    kept.relays[-1].process.kill()
    time.sleep(0.5)
    assert receive(stream, 4) == b"one\n"


def test_an_agent_that_ended_is_no_stream_any_more(kept: Kept) -> None:
    kept.start()
    stream = kept.connect()
    stream.sendall(b"bye\n")
    assert receive(stream, 9) == b"farewell\n"
    with pytest.raises(PortClosed, match="the keeper does not answer"):
        stream.recv(1)


def test_a_machine_has_one_agent(kept: Kept, tmp_path: Path) -> None:
    kept.start()
    stream = kept.connect()
    other = tmp_path / "other"
    other.mkdir()
    second = kept.start(home=other)
    assert (second.returncode, second.stdout) == (1, f"busy {kept.home}\n")
    stream.close()
    wait_for(lambda: kept.start(home=tmp_path / "third").stdout == f"orphan {kept.home}\n")
    kept.connect().sendall(b"bye\n")
    wait_for(lambda: kept.start(home=other).stdout == "ready\n")


def working_in(home: Path) -> list[Path]:
    """The processes below /proc that do; one that ends meanwhile does not."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            found += [path] if path.readlink() == home else []
    return found


def test_nobody_comes_back(kept: Kept) -> None:
    kept.start(linger=1.0)
    wait_for(lambda: "nobody came back within 1 s" in (kept.home / "agent.log").read_text())
    wait_for(lambda: not working_in(kept.home))


def test_a_run_that_is_gone_gives_way_and_takes_the_watchdog_along(kept: Kept) -> None:
    """An armed one that nobody feeds would bite whoever comes next."""
    device = kept.home.with_name("device")
    device.touch()
    (kept.home / "watchdog").write_text("60")
    kept.start()
    script = there.GIVE_WAY.replace("HOME", str(kept.home)).replace(there.LOCK, str(kept.lock))
    subprocess.run(["sh", "-c", script], timeout=30, check=False)
    assert device.read_bytes() == b"V"
    assert not working_in(kept.home)
    assert not kept.home.exists()
    kept.home.mkdir()
    assert kept.start().stdout == "ready\n"
    assert str(keeper.LOCK) == there.LOCK


def test_the_outbox_gives_what_is_missing() -> None:
    box = Outbox(kept=4)
    box.add(b"abc")
    assert (box.since(3), box.since(1), box.since(0)) == (b"", b"bc", b"abc")
    box.add(b"def")
    assert box.since(2) == b"cdef"
    for wrong in (1, 7):
        with pytest.raises(ValueError, match="are kept"):
            box.since(wrong)


def test_the_watchdog_waits_for_its_order_and_is_disarmed_by_the_magic_close(tmp_path: Path) -> None:
    order, device = tmp_path / "order", tmp_path / "device"
    device.touch()
    watchdog = Watchdog(order, device)
    watchdog.feed()
    watchdog.disarm()
    assert device.read_bytes() == b""
    order.write_text("0")
    watchdog.feed()
    time.sleep(0.01)
    watchdog.feed()
    watchdog.disarm()
    assert device.read_bytes() == b"\0V"
