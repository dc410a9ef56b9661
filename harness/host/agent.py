# SPDX-License-Identifier: GPL-2.0-only
"""The host's side of the guest's agent: commands, and the suite's events, over any port.

The commands and events are described in harness/guest/README.md. Why an agent does not answer is for the target to find
out, which knows what it runs on.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from harness.errors import InfraError
from harness.host.port import Port, PortClosed
from harness.model.session import SessionLost, SuiteRequest

GRACE_SECONDS = 20.0
"""How much longer than a test's own limit the host waits before it calls the guest lost."""

Event = Mapping[str, Any]


class AgentRefused(InfraError):
    """The guest's agent could not do what it was told."""


class Owner(Protocol):
    """The target behind the port."""

    def alive(self) -> bool: ...

    def lost(self, waited: str) -> SessionLost:
        """The truth about why there was no answer."""
        ...

    def mark(self) -> None:
        """From here on the console belongs to the next thing that may go wrong."""
        ...

    def answer(self, question: Event) -> dict[str, Any]:
        """The ack of what a test asks: {"value": ...} or {"error": text}."""
        ...

    def outside(self, event: Event) -> Mapping[str, int]:
        """What is counted outside the guest, at a test's start or end."""
        ...

    def faults(self, event: Event) -> Iterable[Event]:
        """What went wrong outside the kernel while the test of this "test-end" ran."""
        ...


class Agent:
    """One agent that waits for commands."""

    def __init__(self, port: Port, owner: Owner) -> None:
        self._port = port
        self._owner = owner
        self._number = 0

    def receive(self, seconds: float, waited: str) -> dict[str, Any]:
        """The next message, or the truth about why there is none."""
        waited_for = 0.0
        while waited_for < seconds:
            try:
                message = self._port.receive(1.0)
            except PortClosed:
                raise self._owner.lost(f"the port was closed while waiting for {waited}") from None
            if message is not None:
                return message
            waited_for += 1.0
            if not self._owner.alive():
                raise self._owner.lost(f"the guest went away while waiting for {waited}")
        raise self._owner.lost(f"waited {seconds:.0f} s in vain for {waited}")

    def hello(self, seconds: float) -> str:
        """Wait for PID 1 to say hello: the kernel's release."""
        message = self.receive(seconds, "a sign of life from the booting kernel")
        while message.get("event") != "hello":
            message = self.receive(seconds, "the guest's hello")
        return str(message.get("release", ""))

    def upload(self, payload: bytes) -> None:
        """Answer the hello: what travels, as a tar."""
        self._send({"put": len(payload)}, payload)

    def command(self, name: str, wait: float, payload: bytes = b"", /, **arguments: object) -> Any:
        """One command and its value, within ``wait`` seconds; an error of the agent is ours. ``payload`` follows as raw
        bytes."""
        self._number += 1
        self._send({"cmd": name, "id": self._number, **arguments}, payload)
        while True:
            message = self.receive(wait, f"the answer to {name!r}")
            if message.get("done") == self._number:
                if "error" in message:
                    raise AgentRefused(f"the guest's agent refused {name!r}: {str(message['error']).strip()}")
                return message.get("value")

    def run(self, argv: Sequence[str], timeout: float = 60.0) -> tuple[int, str]:
        value = self.command("run", timeout + GRACE_SECONDS, argv=list(argv), timeout=timeout)
        return int(value["status"]), str(value["output"])

    def put(self, path: str, data: bytes, mode: int | None = None) -> None:
        self.command("put", 60.0, path=path, data=base64.b64encode(data).decode(), mode=mode)

    def get(self, path: str) -> bytes:
        return base64.b64decode(self.command("get", 60.0, path=path))

    def suite(self, request: SuiteRequest) -> Iterator[Event]:
        """Run tests; yields every event, answers what tests ask, and adds the owner's faults."""
        self._number += 1
        self._owner.mark()
        tests = list(request.tests) if request.tests is not None else None
        order = {"suite": request.suite, "quick": request.quick, "tests": tests, "k": request.select or None}
        order |= {"files": list(request.files) or None, "armed": request.armed, "kmemleak": request.kmemleak}
        order |= {"halting": request.halting, "counts": request.counts, "traced": request.traced}
        if request.script:
            order["script"] = request.script
        place = {"attempt": request.attempt, "boot": request.boot, "limit": request.limit}
        self._send({"cmd": "suite", "id": self._number, **order, **place})
        while True:
            message = self.receive(request.limit + GRACE_SECONDS, "a report from the suite")
            if message.get("done") == self._number:
                if "error" in message:
                    raise InfraError(f"the suite did not run: {str(message['error']).strip()}")
                return
            if message.get("event") == "test-start":
                self._owner.mark()
            yield from self._event(message)

    def _event(self, message: dict[str, Any]) -> Iterator[Event]:
        """Pass an event on, then acknowledge it, so that it is on disk before the guest goes on."""
        sequence = message.get("seq")
        if message.get("event") == "ask":
            self._send({"ack": sequence, **self._owner.answer(message)})
            return
        if message.get("event") in ("test-start", "test-end"):
            message["outside"] = dict(self._owner.outside(message))
        yield message
        if message.get("event") == "test-end":
            yield from self._owner.faults(message)
        if sequence is not None:
            self._send({"ack": sequence})

    def _send(self, message: dict[str, Any], payload: bytes = b"") -> None:
        try:
            self._port.send(message, payload)
        except PortClosed as error:
            raise self._owner.lost(error.message) from None
