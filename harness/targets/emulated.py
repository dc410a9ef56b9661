# SPDX-License-Identifier: GPL-2.0-only
"""The emulated target: a QEMU guest whose PCI bus carries an NPU written in Python. Kernel in, Session out."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InfraError
from harness.host.machine import Boot
from harness.host.npu_control import NpuRefused
from harness.host.payload import pack
from harness.host.port import PortClosed
from harness.host.vm import CARVEOUT_BASE, CARVEOUT_SIZE, MODES, NPU_ADDRESS, Machine
from harness.model.kernel import Kernel
from harness.model.session import Lost, SessionLost, SuiteRequest
from harness.model.variant import AddressMode, Variant

GRACE_SECONDS = 20.0
"""How much longer than a test's own limit the host waits before it calls the guest lost."""

ASKS = {
    "npu.script": "script",
    "npu.log": "log",
    "npu.state": "state",
    "npu.reset": "reset-script",
    "npu.async": "async-error",
}
"""What a test may ask over the port, and the NPU's command for it."""


@dataclass(frozen=True)
class Guest:
    """Where the emulated target finds what it needs: the leaves' package and the suite's folder."""

    package: Path
    suite: Path
    hello_seconds: float


class AgentRefused(InfraError):
    """The guest's agent could not do what it was told."""


class EmulatedSession:
    """A booted guest with its agent waiting."""

    def __init__(self, boot: Boot, kernel: Kernel, variant: Variant, hello_seconds: float) -> None:
        self.boot = boot
        self.kernel = kernel
        self.variant = variant
        self.build_id = ""
        self._number = 0
        self._seen_faults = 0
        self.release = self._hello(hello_seconds)

    def _receive(self, seconds: float, waited: str) -> dict[str, Any]:
        """The next message, or the truth about why there is none."""
        waited_for = 0.0
        while waited_for < seconds:
            try:
                message = self.boot.port.receive(1.0)
            except PortClosed:
                raise self._lost(f"the port was closed while waiting for {waited}") from None
            if message is not None:
                return message
            waited_for += 1.0
            if not self.boot.alive():
                raise self._lost(f"the guest went away while waiting for {waited}")
        raise self._lost(f"waited {seconds:.0f} s in vain for {waited}")

    def _lost(self, waited: str) -> SessionLost:
        silence = self.boot.silence(waited)
        return SessionLost(Lost(silence.ours, silence.evidence, silence.console))

    def _npu_gone(self, error: InfraError) -> SessionLost:
        """An NPU that does not answer us is the lab's fault, whatever the guest does meanwhile."""
        return SessionLost(Lost(True, error.message, self.console()))

    def _hello(self, seconds: float) -> str:
        message = self._receive(seconds, "a sign of life from the booting kernel")
        while message.get("event") != "hello":
            message = self._receive(seconds, "the guest's hello")
        return str(message.get("release", ""))

    def _command(self, name: str, wait: float, /, **arguments: object) -> Any:
        """One command of the agent and its value, within ``wait`` seconds; an error of the agent is ours."""
        self._number += 1
        self._send({"cmd": name, "id": self._number, **arguments})
        while True:
            message = self._receive(wait, f"the answer to {name!r}")
            if message.get("done") == self._number:
                if "error" in message:
                    raise AgentRefused(f"the guest's agent refused {name!r}: {str(message['error']).strip()}")
                return message.get("value")

    def _send(self, message: dict[str, Any], payload: bytes = b"") -> None:
        try:
            self.boot.port.send(message, payload)
        except PortClosed as error:
            raise self._lost(error.message) from None

    def upload(self, payload: bytes) -> None:
        """Answer the bootstrap: everything that travels, in one go."""
        self._send({"put": len(payload)}, payload)

    def announce_device_table(self) -> None:
        """Tell the NPU where the IOMMU's tables are. A guest that dies meanwhile is lost, and not QEMU's monitor."""
        try:
            self.boot.announce_device_table()
        except InfraError as error:
            if self.boot.alive():
                raise
            raise self._lost(f"the guest went away after its hello ({error.message})") from error

    def load_driver(self, timeout: float) -> str:
        """Load the modules; in carveout mode give the driver its memory. Returns amdxdna's build-id."""
        parameters = " ".join(MODES[self.variant.address_mode].driver)
        names = [path.name for path in self.kernel.modules]
        modules = [{"path": f"/run/xdna/modules/{n}", "params": parameters if n == names[-1] else ""} for n in names]
        try:
            loaded = self._command("load", timeout, modules=modules)
        except AgentRefused as error:
            # The kernel said no: an unknown symbol, or the driver's own init. That is the patch's, not the lab's.
            raise SessionLost(Lost(False, f"the driver does not load: {error.message}", self.console())) from error
        if self.variant.address_mode is AddressMode.CARVEOUT:
            text = f"{CARVEOUT_SIZE:#x}@{CARVEOUT_BASE:#x}\n"
            self.put(f"/sys/kernel/debug/accel/{NPU_ADDRESS}/carveout", text.encode())
        self.build_id = str(loaded[-1].get("build_id", "")) if loaded else ""
        return self.build_id

    def run(self, argv: Sequence[str], timeout: float = 60.0) -> tuple[int, str]:
        value = self._command("run", timeout + GRACE_SECONDS, argv=list(argv), timeout=timeout)
        return int(value["status"]), str(value["output"])

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None:
        self._command("put", 60.0, path=path, data=base64.b64encode(data).decode(), mode=mode)

    def get(self, path: str) -> bytes:
        return base64.b64decode(self._command("get", 60.0, path=path))

    def suite(self, request: SuiteRequest) -> Iterator[Mapping[str, Any]]:
        """Run tests; yields every event, answers what tests ask, and adds "fault" events of the emulation."""
        self._number += 1
        self.boot.mark()
        self._send(
            {
                "cmd": "suite",
                "id": self._number,
                "tests": list(request.tests) if request.tests is not None else None,
                "k": request.select or None,
                "attempt": request.attempt,
                "boot": request.boot,
                "limit": request.limit,
            }
        )
        while True:
            message = self._receive(request.limit + GRACE_SECONDS, "a report from the suite")
            if message.get("done") == self._number:
                if "error" in message:
                    raise InfraError(f"the suite did not run: {str(message['error']).strip()}")
                return
            if message.get("event") == "test-start":
                self.boot.mark()
            yield from self._event(message)

    def _event(self, message: dict[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Pass an event on, then acknowledge it, so that it is on disk before the guest goes on."""
        sequence = message.get("seq")
        if message.get("event") == "ask":
            self._send({"ack": sequence, **self._answer(message)})
            return
        yield message
        if message.get("event") == "test-end":
            for fault in self._new_faults():
                yield {
                    **fault,
                    "boot": message.get("boot"),
                    "attempt": message.get("attempt"),
                    "id": message.get("id"),
                }
        if sequence is not None:
            self._send({"ack": sequence})

    def _answer(self, message: Mapping[str, Any]) -> dict[str, Any]:
        command = ASKS.get(str(message.get("what")))
        if command is None:
            return {"error": f"nobody answers {message.get('what')!r} here"}
        try:
            return {"value": self.boot.npu.request(command, **dict(message.get("args") or {}))}
        except NpuRefused as error:
            return {"error": str(error)}
        except InfraError as error:
            raise self._npu_gone(error) from None

    def _new_faults(self) -> list[dict[str, Any]]:
        """What the emulation met that it does not know, since the last look."""
        try:
            if int(self.boot.npu.request("state")["faults"]) <= self._seen_faults:
                return []
            log = self.boot.npu.request("log", since=0)
        except InfraError as error:
            raise self._npu_gone(error) from None
        faults = [entry for entry in log if entry.get("event") == "fault"]
        new, self._seen_faults = faults[self._seen_faults :], len(faults)
        return [{"event": "fault", "what": str(fault.get("what", fault))} for fault in new]

    def console(self) -> str:
        return self.boot.console()

    def alive(self) -> bool:
        return self.boot.alive()

    def capabilities(self) -> frozenset[str]:
        return frozenset({"npu-script", "root"})


@contextmanager
def open_session(machine: Machine, kernel: Kernel, guest: Guest, folder: Path) -> Iterator[EmulatedSession]:
    """Boot ``kernel`` on ``machine`` and hand over a session whose agent waits; the driver is not loaded yet.

    Raises SessionLost when the kernel does not come up, InfraError when QEMU or the NPU does not.
    """
    variant = machine.variant
    payload = pack(kernel, guest.package, guest.suite, variant)
    folder.mkdir(parents=True, exist_ok=True)
    disk = folder / "payload.tar"
    disk.write_bytes(payload)
    with Boot(machine, folder, disk) as boot:
        session = EmulatedSession(boot, kernel, variant, guest.hello_seconds)
        session.upload(payload)
        session.announce_device_table()  # while the guest unpacks; the driver is not there yet
        yield session
