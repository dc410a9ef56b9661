# SPDX-License-Identifier: GPL-2.0-only
"""A machine behind ssh that runs the right kernel already; nothing is installed, booted or power-cycled from here.

The agent is a process there, its port an ssh channel. Every session loads the driver afresh: the machine lives on, and
what an earlier lane's driver left must not be the next one's.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, InfraError, UsageError
from harness.formats.machine_facts import PROBE, Facts, read, unfit
from harness.host.agent import Agent, AgentRefused, Event
from harness.host.payload import Payload
from harness.host.port import Port
from harness.host.ssh import Connection, Guard, connect
from harness.host.ssh_config import Reach, reach
from harness.host.vm import DRIVER_PARAMETERS
from harness.model.session import Lost, SessionLost, Start, SuiteRequest
from harness.model.variant import AddressMode

PROBE_SECONDS = 30.0
UPLOAD_SECONDS = 120.0
HELLO_SECONDS = 60.0
UNLOAD_SECONDS = 60.0
CLEAN_SECONDS = 30.0
RETURN_SECONDS = 60.0
"""How long a machine that went away is waited for, before we say that nobody knows why."""
RETRY_SECONDS = 2.0
LOG_LINES = 160

MAKE_HOME = 'umask 077; d=$(mktemp -d /tmp/xdna-XXXXXXXX) && tar --no-same-owner -xf - -C "$d" && echo "home $d"'
_HOME = re.compile(r"^home (/tmp/xdna-[A-Za-z0-9]+)$", re.M)
OURS = """\
for p in /proc/[0-9]*; do case "$(readlink "$p/cwd")" in HOME|HOME/*) %s;; esac; done 2>/dev/null
"""
"""Do something to every process that works below HOME: the agent, its suite, and what tests started."""
STUCK = OURS % 'for t in "$p"/task/*; do grep -q "^State:.D" "$t/status" && { cat "$t/comm" "$t/stack"; }; done'
CLEAN = OURS % 'kill -9 "${p#/proc/}"' + "rm -rf HOME"
GENERATION = (
    "from pathlib import Path; from harness.guest.variant import generation; "
    "print(generation(Path('/sys/class/accel/accel0/device')))"
)
REFUSED_BY_MACHINE = ("[Errno 1]", "[Errno 129]")
"""EPERM, EKEYREJECTED: lockdown or module signatures. Not the driver's doing."""


class SshSession:
    """A machine with our agent in ``home``, behind ``channel``. ``folder`` receives agent.log."""

    def __init__(self, reach: Reach, connection: Connection, facts: Facts, payload: Payload, folder: Path) -> None:
        """Send what travels and start the agent, which :meth:`hello` waits for."""
        self.reach = reach
        self.connection = connection
        self.facts = facts
        self.payload = payload
        self.folder = folder
        self.release = facts.release
        self.build_id = ""
        self._ended = False
        self._messages: deque[str] = deque(maxlen=LOG_LINES)
        status, output = connection.run(MAKE_HOME, UPLOAD_SECONDS, payload.whole())
        found = _HOME.search(output)
        if status != 0 or found is None:
            raise InfraError(f"{reach.name}: nothing can be unpacked in /tmp: {output.strip()[-200:]}")
        self.home = found[1]
        command = f"{facts.root}python3 -s -m harness.guest.stdio {self.home}"
        self._channel = connection.start(f"cd {self.home} && exec {command}")
        self.agent = Agent(Port(self._channel), self)

    def hello(self) -> None:
        """Wait for the agent."""
        if self.agent.receive(HELLO_SECONDS, "the agent's hello").get("event") != "hello":
            raise InfraError(f"{self.reach.name}: another run has this machine", hint="wait for its end")

    def load_driver(self, timeout: float) -> str:
        """Unload the driver that is there, load ours and what it needs: amdxdna's build-id."""
        files = [path.name for path in self.payload.module.files]
        self._unload(_module(files[-1]))
        there = set(self.agent.run(["ls", "/sys/module"])[1].split())
        missing = [name for name in files if _module(name) not in there]
        parameters = DRIVER_PARAMETERS[self.payload.variant.address_mode]
        modules = [{"path": f"modules/{name}", "params": parameters if name == files[-1] else ""} for name in missing]
        try:
            loaded = self.agent.command("load", timeout, modules=modules)
        except AgentRefused as error:
            if any(number in error.message for number in REFUSED_BY_MACHINE):
                raise InfraError(
                    f"{self.reach.name} allows no module of ours: {error.message}",
                    hint="switch off lockdown and module signatures there",
                ) from error
            raise SessionLost(Lost(False, f"the driver does not load: {error.message}", self._dmesg())) from error
        self.build_id = str(loaded[-1].get("build_id", "")) if loaded else ""
        self._right_npu()
        return self.build_id

    def _unload(self, module: str) -> None:
        """A driver that does not go is not this lane's fault: it was there before."""
        status, _ = self.agent.run(["test", "-e", f"/sys/module/{module}"])
        if status != 0:
            return
        try:
            status, said = self.agent.run(["rmmod", module], UNLOAD_SECONDS)
        except SessionLost as gone:
            raise SessionLost(replace(gone.lost, ours=True)) from gone
        if status != 0:
            raise InfraError(
                f"{self.reach.name}: {module} is loaded and does not go: {said.strip() or f'status {status}'}",
                hint="end what uses the NPU there, or boot it anew",
            )

    def _right_npu(self) -> None:
        """A suite that takes the NPU for another one blames the driver. Without a device node there is nothing to
        compare."""
        status, found = self.agent.run(["python3", "-s", "-c", GENERATION])
        wanted = self.payload.variant.npu
        if status == 0 and found.strip() != wanted:
            raise UsageError(f"{self.reach.name} has an {found.strip()}, not an {wanted}", hint="say so with --npu")

    def alive(self) -> bool:
        self._look_at_log()
        return self.connection.alive() and not self._channel.closed

    def mark(self) -> None:
        self._look_at_log()

    def _look_at_log(self) -> None:
        """Keep what the agent printed. It shares the channel's window: unread, it would block the port."""
        with (self.folder / "agent.log").open("ab") as log:
            while self._channel.recv_stderr_ready() and (piece := self._channel.recv_stderr(1 << 15)):
                log.write(piece)

    def lost(self, waited: str) -> SessionLost:
        """A new connection tells: another boot is the kernel's doing, as is a task of ours that it does not let go, or
        an oops. All else, and a machine that stays away, nobody knows."""
        self._look_at_log()
        name = self.reach.name
        facts = None if self._ended else self._again()
        if facts is None:
            why = "ended by us" if self._ended else f"{name} did not come back within {RETURN_SECONDS:.0f} s"
            return SessionLost(Lost(True, f"{waited}; {why}: nobody knows what its kernel did", self.console()))
        if facts.boot_id != self.facts.boot_id:
            self.home = ""
            return SessionLost(Lost(False, f"{waited}; {name} has booted anew since", self.console()))
        console = self._dmesg()
        if facts.oopsed:
            return SessionLost(Lost(False, f"{waited}; the kernel of {name} died in part", console))
        stuck = self._root(STUCK).strip()
        if stuck:
            return SessionLost(Lost(False, f"{waited}; the kernel of {name} does not let go of\n{stuck}", console))
        said = f", its agent said: {self._agent_said()}" if self._agent_said() else ""
        return SessionLost(Lost(True, f"{waited}; the kernel of {name} runs on{said}", console))

    def _agent_said(self) -> str:
        lines = (self.folder / "agent.log").read_text(errors="replace").splitlines()
        return lines[-1] if lines else ""

    def _again(self) -> Facts | None:
        """A fresh connection, and what the machine says now; None when there is none in time."""
        deadline = time.monotonic() + RETURN_SECONDS
        self.connection.close()
        while time.monotonic() < deadline and not self._ended:
            try:
                self.connection = connect(self.reach, self.connection.guard)
                return read(self.connection.run(PROBE, PROBE_SECONDS)[1])
            except UsageError:  # a key that changed meanwhile: it may be another machine
                return None
            except InfraError:
                time.sleep(RETRY_SECONDS)
        return None

    def _root(self, script: str) -> str:
        """A script's output as root; nothing when the machine does not answer."""
        words = script.replace("HOME", self.home).replace("'", "'\\''")
        with suppress(InfraError):
            return self.connection.run(f"{self.facts.root}sh -c '{words}'", CLEAN_SECONDS)[1]
        return ""

    def _dmesg(self) -> str:
        """The kernel's last messages, as far as it can be asked."""
        said = self._root("dmesg").splitlines()
        if said:
            self._messages = deque(said, maxlen=LOG_LINES)
        return self.console()

    def end(self) -> None:
        self._ended = True
        self.connection.close()

    def close(self) -> None:
        """End the agent and leave nothing of ours but the driver."""
        with suppress(HarnessError, SessionLost):
            if not self._ended and self.alive():
                self.agent.command("poweroff", CLEAN_SECONDS)
        self._look_at_log()
        if self.home:
            self._root(CLEAN)
        self.connection.close()

    def run(self, argv: Sequence[str], timeout: float = 60.0) -> tuple[int, str]:
        return self.agent.run(argv, timeout)

    def put(self, path: str, data: bytes, mode: int | None = None) -> None:
        self.agent.put(path, data, mode)

    def get(self, path: str) -> bytes:
        return self.agent.get(path)

    def suite(self, request: SuiteRequest) -> Iterator[Event]:
        """Run tests; yields every event. A suite that an oops killed is lost, not an error."""
        try:
            yield from self.agent.suite(request)
        except InfraError as error:
            lost = self.lost(error.message)
            if not lost.lost.ours:
                raise lost from error
            raise

    def settle(self, seconds: float) -> bool:
        return False

    def answer(self, question: Event) -> dict[str, Any]:
        """Fixtures skip before they ask."""
        return {"error": f"{self.reach.name} has no emulated NPU to ask {question.get('what')!r}"}

    def outside(self, event: Event) -> Mapping[str, int]:
        """A real NPU shows nothing."""
        return {}

    def faults(self, event: Event) -> list[Mapping[str, Any]]:
        """None are known here; keeps the kernel's messages for the day when it cannot be asked."""
        for record in event.get("kmsg") or ():
            with suppress(KeyError, TypeError, ValueError):
                self._messages.append(f"[{float(record['time']):12.6f}] {record['text']}")
        return []

    def console(self) -> str:
        """The kernel's messages of the last contact."""
        return "\n".join(self._messages)

    def capabilities(self) -> frozenset[str]:
        return frozenset({"root"})


def _module(file: str) -> str:
    """A module's name in the kernel, from its file's."""
    return file.partition(".")[0].replace("-", "_")


class SshGuests:
    """Opens sessions on one machine, one at a time. There is nothing to restore. ``guard`` sees each command."""

    def __init__(self, target: str, payload: Payload, guard: Guard) -> None:
        if payload.variant.address_mode is AddressMode.CARVEOUT:
            raise UsageError(
                "carveout needs memory that the kernel was booted without", hint="on --target ssh use sva or force-iova"
            )
        self.payload = payload
        self.reach = reach(target)
        self._guard = guard
        self._live: list[SshSession] = []

    fresh = False

    def has(self, start: Start) -> bool:
        return start is Start.COLD

    @contextmanager
    def open(self, folder: Path, start: Start) -> Iterator[SshSession]:
        """A session whose agent waits. UsageError: host key or login; InfraError: the machine is not there, or not
        fit."""
        folder.mkdir(parents=True, exist_ok=True)
        connection = connect(self.reach, self._guard)
        try:
            facts = read(connection.run(PROBE, PROBE_SECONDS)[1])
            if wrong := unfit(facts, self.payload.module.kernel.release):
                raise InfraError(f"{self.reach.name} {wrong[0]}", hint=wrong[1])
            session = SshSession(self.reach, connection, facts, self.payload, folder)
        except BaseException:
            connection.close()
            raise
        self._live.append(session)
        try:
            session.hello()
            yield session
        finally:
            self._live.remove(session)
            session.close()

    def end(self) -> None:
        """End the session that runs, from any thread."""
        for session in list(self._live):
            session.end()

    def make_kernel(self, folder: Path) -> None:
        raise InfraError(f"{self.reach.name} cannot be saved")

    def save_driver(self, session: object) -> None:
        raise InfraError(f"{self.reach.name} cannot be saved")

    def discard(self, start: Start) -> None:
        """There is nothing to throw away."""
