# SPDX-License-Identifier: GPL-2.0-only
"""A machine behind ssh with our agent in it. The agent outlives our connections: one that breaks is taken up again.

Every session loads the driver afresh, and unloads it: the machine lives on, and what an earlier lane's driver left, or
complains of when it goes, must not be the next one's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, InfraError, UsageError
from harness.formats.machine_facts import Facts
from harness.formats.pstore import since
from harness.host.agent import Agent, AgentRefused, Event
from harness.host.payload import Payload
from harness.host.port import Port, PortClosed, Stream
from harness.host.resumed import Resumed
from harness.host.vm import DRIVER_PARAMETERS
from harness.log import say
from harness.model.session import Lost, SessionLost, SuiteRequest
from harness.targets.ssh.aftermath import headline
from harness.targets.ssh.evidence import Evidence
from harness.targets.ssh.heard import LOG_LINES, Heard
from harness.targets.ssh.home import CLEAN_SECONDS, Home
from harness.targets.ssh.machine import Machine

HELLO_SECONDS = 60.0
UNLOAD_SECONDS = 60.0
PING_SECONDS = 15.0
"""How long a connection may be silent before it has to show that it carries anything."""
GENERATION = (
    "from pathlib import Path; from harness.guest.variant import generation; "
    "print(generation(Path('/sys/class/accel/accel0/device')))"
)
REFUSED_BY_MACHINE = ("[Errno 1]", "[Errno 129]")
"""EPERM, EKEYREJECTED: lockdown or module signatures. Not the driver's doing."""


class SshSession:
    """``machine`` with our agent in it. ``folder`` receives agent.log and what a crash left. ``whole_log``: the boot is
    made for us, and what its kernel said before us is told before the first test."""

    def __init__(
        self,
        machine: Machine,
        facts: Facts,
        payload: Payload,
        evidence: Evidence,
        folder: Path,
        whole_log: bool = False,
    ) -> None:
        """Send what travels and start the agent, which :meth:`hello` waits for."""
        self.machine = machine
        self.facts = facts
        self.payload = payload
        self.evidence = evidence
        self.folder = folder
        self.release = facts.release
        self.build_id = ""
        self.was_lost = False
        self.loaded = False  # then the kernel's log has a driver of ours in it
        self.unloading = self.unloaded = False
        self.late: Lost | None = None
        """What became of its kernel when its suite had ended."""
        self.heard = Heard(whole_log)
        self._ended = False
        self._told = time.monotonic()
        self._anew: Facts | None = None
        self.home = Home(machine, payload.whole())
        try:
            self.home.start_agent(whole_log)
            self.agent = Agent(Port(Resumed(self._dial, lambda text: say(f"{machine.name}: {text}"))), self)
        except BaseException:
            self.home.remove()
            raise

    def _dial(self) -> Stream:
        """A way to the agent. PortClosed: it is gone, or the machine is."""
        deadline = time.monotonic() + self.machine.back_seconds
        while True:
            facts = self.machine.back(lambda: self._ended)
            if facts is None:
                raise PortClosed(f"{self.machine.name} does not answer")
            if facts.boot_id != self.facts.boot_id:
                self._anew = facts
                raise PortClosed(f"{self.machine.name} has booted anew")
            with suppress(InfraError):
                self._told = time.monotonic()
                return self.home.dial(facts.root or "")
            if time.monotonic() > deadline:
                raise PortClosed(f"{self.machine.name} takes no command")

    def hello(self) -> None:
        """Wait for the agent."""
        if self.agent.receive(HELLO_SECONDS, "the agent's hello").get("event") != "hello":
            raise InfraError(f"{self.machine.name}: the agent did not say hello")

    def has_crash_kernel(self) -> bool:
        """Whether a crash kernel is loaded, which writes down the memory of this one (kdump)."""
        return self.agent.run(["cat", "/sys/kernel/kexec_crash_loaded"])[1].strip() == "1"

    def guard(self, modules: Sequence[Path]) -> None:
        """From now on the agent's keeper feeds the watchdog whose driver this is, with what it needs. One that does not
        load is said, and costs only this net."""
        there = set(self.agent.run(["ls", "/sys/module"])[1].split())
        entries = []
        for path in (path for path in modules if _module(path.name) not in there):
            self.agent.put(f"{self.home.path}/modules/{path.name}", path.read_bytes())
            entries.append({"path": f"modules/{path.name}", "params": ""})
        try:
            self.agent.command("load", 60.0, modules=entries)
            self.agent.put(f"{self.home.path}/watchdog", str(self.machine.hang_seconds).encode())
        except AgentRefused as error:
            say(f"{self.machine.name}: nobody feeds its watchdog: {error.message}")

    def load_driver(self, timeout: float) -> str:
        """Unload the driver that is there, load ours and what it needs: amdxdna's build-id."""
        files = [path.name for path in self.payload.module.files]
        self._unload(_module(files[-1]))
        there = set(self.agent.run(["ls", "/sys/module"])[1].split())
        missing = [name for name in files if _module(name) not in there]
        parameters = DRIVER_PARAMETERS[self.payload.variant.address_mode]
        modules = [{"path": f"modules/{name}", "params": parameters if name == files[-1] else ""} for name in missing]
        self.loaded = True
        try:
            loaded = self.agent.command("load", timeout, modules=modules)
        except AgentRefused as error:
            if any(number in error.message for number in REFUSED_BY_MACHINE):
                raise InfraError(
                    f"{self.machine.name} allows no module of ours: {error.message}",
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
                f"{self.machine.name}: {module} is loaded and does not go: {said.strip() or f'status {status}'}",
                hint="end what uses the NPU there, or boot it anew",
            )

    def _right_npu(self) -> None:
        """A suite that takes the NPU for another one blames the driver. Without a device node there is nothing to
        compare."""
        status, found = self.agent.run(["python3", "-s", "-c", GENERATION])
        wanted = self.payload.variant.npu
        if status == 0 and found.strip() != wanted:
            raise UsageError(f"{self.machine.name} has an {found.strip()}, not an {wanted}", hint="say so with --npu")

    def alive(self) -> bool:
        """Asked while the agent is silent. A connection that was cut without a word is closed here, and taken up again
        by who reads from it."""
        if not self._ended and time.monotonic() - self._told > PING_SECONDS:
            self.machine.answers()
            self._told = time.monotonic()
        return not self._ended

    def mark(self) -> None:
        self.evidence.mark_console()

    def lost(self, waited: str) -> SessionLost:
        """A new connection tells: another boot is the kernel's doing, as is a task of ours that it does not let go, or
        an oops. All else, and a machine that stays away, nobody knows."""
        self.was_lost = True
        name = self.machine.name
        facts = None if self._ended else self._anew or self.machine.back(lambda: self._ended)
        if facts is None:
            why = "ended by us" if self._ended else f"{name} did not come back within {self.machine.away_seconds:.0f} s"
            return SessionLost(Lost(True, f"{waited}; {why}: nobody knows what its kernel did", self.console()))
        if facts.boot_id != self.facts.boot_id:
            self.home.path = ""
            left = since(self.evidence.collect(self.folder), self.heard.since)
            console = self.evidence.said() or left or self.console()
            tail = "\n".join((left or console).splitlines()[-LOG_LINES:])
            return SessionLost(Lost(False, f"{waited}; {name} has booted anew since\n{tail}", console))
        console = self._dmesg()
        if facts.oopsed:
            return SessionLost(Lost(False, f"{waited}; the kernel of {name} died in part", console))
        if stuck := self.home.stuck():
            return SessionLost(Lost(False, f"{waited}; the kernel of {name} does not let go of\n{stuck}", console))
        last = self.home.agent_said(self.folder)
        said = f", its agent said: {last}" if last else ""
        return SessionLost(Lost(True, f"{waited}; the kernel of {name} runs on{said}", console))

    def _dmesg(self) -> str:
        """The kernel's last messages, as far as it can be asked."""
        if said := self.home.root("dmesg").splitlines():
            self.heard.messages.clear()
            self.heard.messages.extend(said)
        return self.console()

    def end(self) -> None:
        self._ended = True
        self.machine.hang_up()

    def close(self) -> None:
        """End the agent and leave nothing of ours."""
        with suppress(HarnessError):
            self._poweroff()
        if self.home.path:
            with suppress(HarnessError):
                self.home.fetch_log(self.folder)
            self.home.remove()

    def _poweroff(self) -> None:
        """The driver goes while it is this session's: what the kernel says of that would be the next one's. One that is
        in use stays."""
        quiet = self.heard.quiet_since is not None and not self.was_lost
        try:
            if not self._ended and self.home.path:
                if quiet:
                    self.unloading = True
                    status, _ = self.agent.run(["rmmod", _module(self.payload.module.files[-1].name)], UNLOAD_SECONDS)
                    self.unloading, self.unloaded = False, status == 0
                self.agent.command("poweroff", CLEAN_SECONDS)
        except SessionLost as gone:
            if quiet and not self._ended:
                self._gone_at_end(gone.lost)

    def _gone_at_end(self, lost: Lost) -> None:
        """What is lost only now interrupts no test any more, but its evidence is collected: it must be said here. Of a
        machine that is only silent, who finds it again sees what happened."""
        first, _, rest = lost.evidence.partition("\n")
        if lost.ours:
            self.machine.note(f"{self.machine.name}: behind the last test {first}")
            self.was_lost = False
        else:
            self.machine.note(f"{first}: {headline(rest)}")
            self.late = lost

    def run(self, argv: Sequence[str], timeout: float = 60.0) -> tuple[int, str]:
        return self.agent.run(argv, timeout)

    def put(self, path: str, data: bytes, mode: int | None = None) -> None:
        self.agent.put(path, data, mode)

    def get(self, path: str) -> bytes:
        return self.agent.get(path)

    def suite(self, request: SuiteRequest) -> Iterator[Event]:
        """Run tests; yields every event. A suite that an oops killed is lost, not an error."""
        self.heard.begin(request)
        try:
            for event in self.agent.suite(request):
                self._told = time.monotonic()
                self.heard.hear(event)
                yield event
        except InfraError as error:
            lost = self.lost(error.message)
            if not lost.lost.ours:
                raise lost from error
            raise

    def settle(self, seconds: float) -> bool:
        return False

    def answer(self, question: Event) -> dict[str, Any]:
        """Fixtures skip before they ask."""
        return {"error": f"{self.machine.name} has no emulated NPU to ask {question.get('what')!r}"}

    def outside(self, event: Event) -> Mapping[str, int]:
        """A real NPU shows nothing."""
        return {}

    def faults(self, event: Event) -> list[Mapping[str, Any]]:
        """None are known here."""
        return []

    def console(self) -> str:
        """The console since its mark, or without one the kernel's messages of the last contact."""
        return self.evidence.said() or "\n".join(self.heard.messages)

    def capabilities(self) -> frozenset[str]:
        return frozenset({"root"})


def _module(file: str) -> str:
    """A module's name in the kernel, from its file's."""
    return file.partition(".")[0].replace("-", "_")
