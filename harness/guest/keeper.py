# SPDX-License-Identifier: GPL-2.0-only
"""Keeps the agent of a machine that lives on, while connections come and go:
``python3 -m harness.guest.keeper HOME LINGER``.

The agent's port leads to the keeper, which listens on the unix socket HOME/port. Who connects (``relay.py``, over ssh)
says {"have":N}, how many bytes of the agent's he has had, is told the same of his own, and both send what the other
lacks. So a connection that was cut costs nothing but time.

The keeper feeds the hardware watchdog, if HOME/watchdog names seconds: a machine that hangs, and one to which nobody
comes back within LINGER seconds, resets itself into the kernel that it boots by default. SIGTERM to all that work in
HOME makes them give way: the agent ends by it, and the keeper, when it has disarmed the watchdog.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from harness.guest.outbox import Outbox
from harness.guest.watchdog import Watchdog

LOCK = Path("/run/xdna-harness.lock")
"""Held by the keeper, its agent and the suites that it forks: who finds it held must leave the driver alone. In it: the
holder's HOME."""
HANDSHAKE_SECONDS = 10.0
FLUSH_SECONDS = 30.0
_PIECE = 1 << 16


class Keeper:
    """One agent behind ``agent`` (our end of its port); ``linger`` in seconds."""

    def __init__(self, home: Path, agent: socket.socket, linger: float) -> None:
        self.home = home
        self.agent = agent
        self.linger = linger
        self.watchdog = Watchdog(home / "watchdog")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(home / "port"))
        self._listener.listen(1)
        self._client: socket.socket | None = None
        self._attached = os.open(home / "attached", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._said = Outbox()
        self._taken = 0
        self._to_agent = bytearray()
        self._to_client = bytearray()
        self._alone_since = time.monotonic()

    def serve(self) -> bool:
        """Until the agent ends: True; False when nobody came back in time."""
        while self._client is not None or time.monotonic() - self._alone_since < self.linger:
            self.watchdog.feed()
            if not self._turn():
                self._flush()
                return True
        return False

    def _turn(self) -> bool:
        """Wait a second at most for something to do, and do it; False when the agent has closed its end."""
        client = [self._client] if self._client is not None else []
        # What the agent says waits in its socket while nobody is there; a full one just makes it wait.
        reads = [self._listener, *client, *([self.agent] if client and not self._to_client else [])]
        writes = [*([self.agent] if self._to_agent else []), *(client if self._to_client else [])]
        ready, free, _ = select.select(reads, writes, [], 1.0)
        if self.agent in free:
            del self._to_agent[: self.agent.send(self._to_agent[:_PIECE])]
        if self._client in free:
            self._send_client()
        if self._client in ready:
            self._from_client()
        if self.agent in ready:
            piece = self._receive(self.agent)
            if not piece:
                return False
            self._said.add(piece)
            self._to_client += piece
        if self._listener in ready:
            self._take(self._listener.accept()[0])
        return client != [] or not self._agent_gone()

    def _agent_gone(self) -> bool:
        """An agent that ends while nobody listens."""
        poll = select.poll()
        poll.register(self.agent, select.POLLRDHUP)
        return any(mask & (select.POLLHUP | select.POLLRDHUP) for _, mask in poll.poll(0))

    def _take(self, client: socket.socket) -> None:
        """A newcomer takes the place of who is there: a connection that is dead for him may look alive from here."""
        self._drop()
        client.settimeout(HANDSHAKE_SECONDS)
        try:
            had = int(json.loads(_line(client))["have"])
            rest = self._said.since(had)
            client.sendall(json.dumps({"have": self._taken}).encode() + b"\n")
        except (OSError, ValueError, KeyError, TypeError) as error:
            print(f"a connection that is none: {error}", file=sys.stderr)
            client.close()
            return
        client.setblocking(False)
        fcntl.flock(self._attached, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._client, self._to_client = client, bytearray(rest)

    def _drop(self) -> None:
        if self._client is None:
            return
        self._client.close()
        self._client = None
        self._to_client.clear()
        self._alone_since = time.monotonic()
        fcntl.flock(self._attached, fcntl.LOCK_UN)

    def _send_client(self) -> None:
        assert self._client is not None
        try:
            del self._to_client[: self._client.send(self._to_client[:_PIECE])]
        except OSError:
            self._drop()

    def _from_client(self) -> None:
        assert self._client is not None
        piece = self._receive(self._client)
        if not piece:
            self._drop()
        self._taken += len(piece)
        self._to_agent += piece

    def _receive(self, end: socket.socket) -> bytes:
        try:
            return end.recv(_PIECE)
        except OSError:
            return b""

    def _flush(self) -> None:
        """The agent's last words."""
        deadline = time.monotonic() + FLUSH_SECONDS
        while self._client is not None and self._to_client and time.monotonic() < deadline:
            if select.select([], [self._client], [], 1.0)[1]:
                self._send_client()


def _line(client: socket.socket) -> bytes:
    """One short line, byte by byte: what follows it is the agent's."""
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < 100:
        byte = client.recv(1)
        if not byte:
            raise OSError("closed")
        line += byte
    return bytes(line)


def main(home: Path, linger: float, live: Callable[[int, Path], int], lock: Path = LOCK) -> int:
    """Take the machine, and go on in the background: 0. 1: somebody has it; the line says who: "busy HOME", or "orphan
    HOME" when no connection leads to him. ``live`` is the agent, given its end of the port."""
    held = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(held, 200).decode(errors="replace").strip()
        print(f"{'busy' if _attached(Path(holder)) else 'orphan'} {holder}", flush=True)
        return 1
    os.ftruncate(held, 0)
    os.pwrite(held, str(home).encode(), 0)
    ours, its = socket.socketpair()
    keeper = Keeper(home, ours, linger)
    print("ready", flush=True)
    if os.fork():
        return 0
    _detach(home)
    if os.fork() == 0:
        ours.close()
        os._exit(live(its.detach(), home))
    its.close()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    finished = keeper.serve()
    if finished:
        keeper.watchdog.disarm()
    else:
        print(f"nobody came back within {linger:.0f} s", file=sys.stderr, flush=True)
        _end_all(home)
    os._exit(0 if finished else 1)


def _end_all(home: Path) -> None:
    """The agent, its suite, and what tests started: all that works below HOME, apart from us."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int(process.name) != os.getpid() and process.joinpath("cwd").readlink().is_relative_to(home):
                os.kill(int(process.name), signal.SIGKILL)


def _attached(home: Path) -> bool:
    with suppress(OSError):
        found = os.open(home / "attached", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(found)
    return False


def _detach(home: Path) -> None:
    """A session of its own; nothing of the connection's stays open."""
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(home / "agent.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number, fd in ((0, nothing), (1, log), (2, log)):
        os.dup2(fd, number)
    os.close(nothing)
    os.close(log)


if __name__ == "__main__":
    from harness.guest.resident import live as agent_lives

    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2]), agent_lives))
