# SPDX-License-Identifier: GPL-2.0-only
"""The emulated target: a QEMU guest whose PCI bus carries an NPU written in Python. Driver in, Session out."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import InfraError
from harness.formats import npu_log
from harness.host.agent import Agent, AgentRefused, Event
from harness.host.machine import Boot
from harness.host.npu_control import NpuRefused
from harness.host.payload import Payload, modules_tar
from harness.host.snapshot import StateDamaged
from harness.host.vm import CARVEOUT_BASE, CARVEOUT_SIZE, DRIVER_PARAMETERS, NPU_ADDRESS, Machine
from harness.model.session import Lost, SessionLost, SuiteRequest
from harness.model.variant import AddressMode

THAW_SECONDS = 30.0
CONTEXT_SECONDS = 2.0
CLOCK_SECONDS = 10.0
"""How far the clock of a restored guest may be from ours: the answer's way, on a busy machine."""
DMESG_LINES = 30
"""So much of the kernel's last words is evidence."""

ASKS = {
    "npu.script": "script",
    "npu.log": "log",
    "npu.state": "state",
    "npu.reset": "reset-script",
    "npu.async": "async-error",
    "npu.protocol": "protocol",
}
"""What a test may ask over the port, and the NPU's command for it."""


class EmulatedSession:
    """A running guest with its agent waiting."""

    payload: Payload

    def __init__(self, boot: Boot) -> None:
        self.boot = boot
        self.release = ""
        self.build_id = ""
        self.agent = Agent(boot.port, self)
        self._loaded: frozenset[str] = frozenset()
        self._seen_faults = 0
        self._contexts_before = 0
        self._entries_before = 0

    def carry(self, payload: Payload) -> None:
        """What is for this guest from now on, also as a disk, for qemu.sh."""
        self.payload = payload
        self.boot.payload.write_bytes(payload.whole())

    def hello(self, seconds: float, tar: bytes) -> None:
        """Wait for a kernel that boots, and send it what travels."""
        self.release = self.agent.hello(seconds)
        self.agent.upload(tar)

    def thaw(self) -> tuple[str, ...]:
        """Wake a restored guest: clock, random numbers, and who it is. Returns what it drew. StateDamaged when the
        guest is not what was saved."""
        entropy = base64.b64encode(os.urandom(32)).decode()
        try:
            found = self.agent.command("thaw", THAW_SECONDS, time=time.time(), entropy=entropy)
        except (SessionLost, AgentRefused) as error:
            raise StateDamaged(f"the restored guest did not wake up: {_first_line(error)}") from error
        self.release, self.build_id = str(found["release"]), str(found["build_id"])
        if abs(time.time() - float(found["time"])) > CLOCK_SECONDS:
            raise StateDamaged(f"the restored guest's clock says {found['time']}")
        return tuple(map(str, found["random"]))

    def alive(self) -> bool:
        return self.boot.alive()

    def mark(self) -> None:
        self.boot.mark()

    def lost(self, waited: str) -> SessionLost:
        silence = self.boot.silence(waited)
        return SessionLost(Lost(silence.ours, silence.evidence, silence.console))

    def _npu_gone(self, error: InfraError) -> SessionLost:
        """An NPU that does not answer us is the lab's fault, whatever the guest does meanwhile."""
        return SessionLost(Lost(True, error.message, self.console()))

    def announce_device_table(self) -> None:
        """Tell the NPU where the IOMMU's tables are. A guest that dies meanwhile is lost, and not QEMU's monitor."""
        try:
            self.boot.announce_device_table()
        except InfraError as error:
            if self.boot.alive():
                raise
            raise self.lost(f"the guest went away after its hello ({error.message})") from error

    def add_driver(self, timeout: float) -> None:
        """Send the modules to a guest that has only its agent and the tests, and maybe the helpers."""
        tar = self.payload.driver(self._loaded)
        self.agent.command("unpack", timeout, tar, size=len(tar))

    def load_helpers(self, files: Sequence[Path], timeout: float) -> None:
        """Load what the driver needs of its kernel, while the driver itself is still being made. Only in a restored
        guest. AgentRefused: the kernel says no."""
        tar = modules_tar(files)
        self.agent.command("unpack", timeout, tar, size=len(tar))
        modules = [{"path": f"modules/{path.name}", "params": ""} for path in files]
        self.agent.command("load", timeout, modules=modules, rescan=True)
        self._loaded = frozenset(path.name for path in files)

    def load_driver(self, timeout: float) -> str:
        """Load the modules; in carveout mode give the driver its memory. Returns amdxdna's build-id."""
        mode = self.payload.variant.address_mode
        files = [path.name for path in self.payload.module.files]
        modules = [
            {"path": f"modules/{name}", "params": DRIVER_PARAMETERS[mode] if name == files[-1] else ""}
            for name in files
            if name not in self._loaded
        ]
        rescan = self.boot.state is not None and not self._loaded  # done with the helpers
        try:
            loaded = self.agent.command("load", timeout, modules=modules, rescan=rescan)
        except AgentRefused as error:
            # The kernel said no: an unknown symbol, or the driver's own init. That is the patch's, not the lab's.
            raise SessionLost(Lost(False, f"the driver does not load: {error.message}", self.console())) from error
        if mode is AddressMode.CARVEOUT:
            self._give_carveout()
        self.build_id = str(loaded[-1].get("build_id", "")) if loaded else ""
        return self.build_id

    def _give_carveout(self) -> None:
        """A driver that is there and does not take it is the kernel's doing. Where there is none it did not probe: who
        looks for its device node says so."""
        folder = f"/sys/kernel/debug/accel/{NPU_ADDRESS}"
        try:
            self.put(f"{folder}/carveout", f"{CARVEOUT_SIZE:#x}@{CARVEOUT_BASE:#x}\n".encode())
        except AgentRefused as error:
            if self.run(["test", "-d", folder])[0] != 0:
                return
            tail = "\n".join(self.run(["dmesg"])[1].splitlines()[-DMESG_LINES:])
            what = f"the driver does not take its carveout: {error.message}\n{tail}"
            raise SessionLost(Lost(False, what, self.console())) from error

    def settle(self, seconds: float) -> bool:
        """Let the driver suspend its idle device; False when it does not within ``seconds``."""
        return bool(self.agent.command("settle", seconds + 60, address=NPU_ADDRESS, seconds=seconds) == "suspended")

    def save(self, folder: Path) -> None:
        """Save the guest into ``folder``; the session is over."""
        self.boot.save(folder, {"release": self.release, "build_id": self.build_id})

    def run(self, argv: Sequence[str], timeout: float = 60.0) -> tuple[int, str]:
        return self.agent.run(argv, timeout)

    def put(self, path: str, data: bytes, mode: int | None = None) -> None:
        self.agent.put(path, data, mode)

    def get(self, path: str) -> bytes:
        return self.agent.get(path)

    def suite(self, request: SuiteRequest) -> Iterator[Event]:
        """Run tests; yields every event, and adds "fault" events of the emulation."""
        return self.agent.suite(request)

    def answer(self, question: Event) -> dict[str, Any]:
        """What a test asks the NPU."""
        command = ASKS.get(str(question.get("what")))
        if command is None:
            return {"error": f"nobody answers {question.get('what')!r} here"}
        try:
            return {"value": self.boot.npu.request(command, **dict(question.get("args") or {}))}
        except NpuRefused as error:
            return {"error": str(error)}
        except InfraError as error:
            raise self._npu_gone(error) from None

    def outside(self, event: Event) -> Mapping[str, int]:
        """The contexts in firmware. One that is more than when the test began is waited for: a process that was killed
        ends after it was reaped. At a test's end also the largest heap that firmware knew meanwhile."""
        ends = event.get("event") == "test-end"
        deadline = time.monotonic() + CONTEXT_SECONDS
        contexts, entries = self._contexts()
        while ends and contexts > self._contexts_before and time.monotonic() < deadline:
            time.sleep(0.02)
            contexts, entries = self._contexts()
        heap = self._largest_heap() if ends and entries > self._entries_before else {}
        self._contexts_before, self._entries_before = contexts, entries
        return {"npu.contexts": contexts, **heap}

    def _contexts(self) -> tuple[int, int]:
        """The number of contexts in firmware, and of entries in the NPU's log."""
        try:
            state = self.boot.npu.request("state")
        except InfraError as error:
            raise self._npu_gone(error) from None
        return len(state["contexts"]), int(state.get("entries", 0))

    def _largest_heap(self) -> dict[str, int]:
        try:
            said = self.boot.npu.request("log", since=self._entries_before)
        except InfraError as error:
            raise self._npu_gone(error) from None
        size, chunks = npu_log.largest_heap(said)
        return {"npu.heap": size, "npu.chunks": chunks}

    def faults(self, event: Event) -> list[Mapping[str, Any]]:
        """What the emulation met that it does not know, since the last look."""
        try:
            if int(self.boot.npu.request("state")["faults"]) <= self._seen_faults:
                return []
            log = self.boot.npu.request("log", since=0)
        except InfraError as error:
            raise self._npu_gone(error) from None
        faults = [entry for entry in log if entry.get("event") == "fault"]
        new, self._seen_faults = faults[self._seen_faults :], len(faults)
        place = {key: event.get(key) for key in ("boot", "attempt", "id")}
        return [{"event": "fault", "what": str(fault.get("what", fault)), **place} for fault in new]

    def console(self) -> str:
        return self.boot.console()

    def capabilities(self) -> frozenset[str]:
        return frozenset({"npu-script", "root"})


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextmanager
def boot_guest(
    machine: Machine, payload: Payload, folder: Path, hello_seconds: float, live: list[Boot]
) -> Iterator[EmulatedSession]:
    """Boot the kernel and hand over a session whose agent waits; the driver is not loaded yet. On a machine without an
    NPU only agent and tests are there. ``live`` lists it while it runs.

    Raises SessionLost when the kernel does not come up, InfraError when QEMU or the NPU does not.
    """
    with _listed(Boot(machine, folder), live) as boot:
        session = EmulatedSession(boot)
        session.carry(payload)
        session.hello(hello_seconds, payload.whole() if machine.plugged else payload.common())
        session.announce_device_table()  # while the guest unpacks; the driver is not there yet
        yield session


@contextmanager
def restore_guest(machine: Machine, folder: Path, state: Path, live: list[Boot]) -> Iterator[EmulatedSession]:
    """Go on with a saved guest, on the same machine with an NPU. It carries nothing yet but what was saved with it.

    Raises StateDamaged when what was saved does not run, InfraError when QEMU or the NPU does not.
    """
    with _listed(Boot(replace(machine, plugged=True), folder, state), live) as boot:
        session = EmulatedSession(boot)
        session.announce_device_table()  # before the driver can resume the device
        yield session


@contextmanager
def _listed(boot: Boot, live: list[Boot]) -> Iterator[Boot]:
    """Run a boot; while it runs it is in the list, so that somebody else can end it."""
    live.append(boot)
    try:
        with boot:
            yield boot
    finally:
        live.remove(boot)
