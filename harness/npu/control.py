# SPDX-License-Identifier: GPL-2.0-only
"""The control socket: one JSON object per line in, one per line out, {"ok": value} or {"error": "text"}.

Commands: README.md. A wrong request is an answer; an exception of ours is not, it ends the process.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

from harness.npu.device import Npu
from harness.npu.generations import Protocol
from harness.npu.management import AsyncError
from harness.npu.script import BadRule, parse_rule
from harness.npu.trouble import Trouble
from harness.vfio_user.listener import Listener
from harness.vfio_user.loop import Loop

MAX_LINE = 1 << 20
ANSWER_SECONDS = 10.0
"""How long a client may leave an answer unread."""


class Wrong(Exception):
    """The request cannot be done; the text goes back."""


class Control:
    """Serves any number of clients on the unix socket ``where`` (vfio_user/listener.py)."""

    def __init__(self, where: str, npu: Npu, loop: Loop) -> None:
        self._npu = npu
        self._loop = loop
        self._clients: dict[int, tuple[socket.socket, bytearray]] = {}
        self._commands: dict[str, Callable[[dict[str, Any]], Any]] = {
            "device-table": self._device_table,
            "script": self._script,
            "reset-script": self._reset_script,
            "log": self._log,
            "state": lambda request: npu.state(),
            "async-error": self._async_error,
            "protocol": self._protocol,
            "quit": lambda request: loop.stop(),
        }
        self._listener = Listener(where)
        loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        client = self._listener.accept()
        client.settimeout(ANSWER_SECONDS)
        fd = client.fileno()
        self._clients[fd] = (client, bytearray())
        self._loop.add_reader(fd, lambda: self._readable(fd))

    def _readable(self, fd: int) -> None:
        client, line = self._clients[fd]
        try:
            data = client.recv(1 << 16)
            line += data
            while b"\n" in line:
                end = line.index(b"\n")
                request = bytes(line[:end])
                del line[: end + 1]
                client.sendall(json.dumps(self.answer(request)).encode() + b"\n")
        except OSError:
            data = b""
        if not data or len(line) > MAX_LINE:
            self._hang_up(fd)

    def _hang_up(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        self._clients.pop(fd)[0].close()

    def answer(self, line: bytes) -> dict[str, Any]:
        """The answer to one request line."""
        try:
            request = json.loads(line)
        except ValueError as error:
            return {"error": f"not JSON: {error}"}
        if not isinstance(request, dict):
            return {"error": "a request is an object"}
        command = self._commands.get(str(request.get("cmd")))
        if command is None:
            return {"error": f"unknown command {request.get('cmd')!r}; known: {', '.join(self._commands)}"}
        try:
            return {"ok": command(request)}
        except (Wrong, BadRule) as error:
            return {"error": str(error)}

    def _device_table(self, request: dict[str, Any]) -> None:
        base = _integer(request, "base")
        if base == 0 or base % 4096:
            raise Wrong(f"base {base:#x} is no device table: has the guest set up its IOMMU?")
        self._npu.iommu.base = base
        if "bdf" in request:
            self._npu.iommu.bdf = _integer(request, "bdf")

    def _script(self, request: dict[str, Any]) -> int:
        rules = request.get("rules")
        if not isinstance(rules, list):
            raise Wrong("script needs rules, a list")
        self._npu.script.set([parse_rule(rule) for rule in rules], request.get("append") is True)
        return len(self._npu.script.rules)

    def _reset_script(self, request: dict[str, Any]) -> None:
        self._npu.script.set([])

    def _log(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        return self._npu.log.since(_integer(request, "since") if "since" in request else 0)

    def _async_error(self, request: dict[str, Any]) -> bool:
        """False: the driver has left no buffer for it, so that nobody is told. That is the driver's doing."""
        known = AsyncError.__dataclass_fields__.keys()
        unknown = request.keys() - known - {"cmd"}
        if unknown:
            raise Wrong(f"async-error has no {', '.join(sorted(unknown))}; it may have {', '.join(known)}")
        error = AsyncError(**{key: _integer(request, key) for key in known & request.keys()})
        if max(error.row, error.col, error.event) > 255:
            raise Wrong("row, col and event are bytes")
        if not self._npu.firmware.management.hears_errors:
            return False
        try:
            self._npu.firmware.async_error(error)
        except (LookupError, Trouble) as reason:
            raise Wrong(str(reason)) from reason
        return True

    def _protocol(self, request: dict[str, Any]) -> None:
        version = request.get("version")
        try:
            self._npu.speak(Protocol.parse(str(version)) if version else None)
        except ValueError as error:
            raise Wrong(f"{version!r} is no protocol version, such as 6.12") from error

    def close(self) -> None:
        """Hang up and remove the socket."""
        for fd in list(self._clients):
            self._hang_up(fd)
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()


def _integer(request: dict[str, Any], key: str) -> int:
    value = request.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 64:
        raise Wrong(f"{key} is a number from 0 to 2^64 - 1, not {value!r}")
    return value
