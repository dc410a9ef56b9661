# SPDX-License-Identifier: GPL-2.0-only
"""A machine goes into a kernel under test once, and back into its own.

its own kernel -> record it -> install ours beside -> arm the watchdog -> leave -> who answers?
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.errors import HarnessError, InfraError, UsageError
from harness.formats.kernel_line import kernel_line
from harness.formats.machine_facts import Facts
from harness.host.leases import LeaseLost
from harness.log import say, step
from harness.model.boot_way import choose
from harness.model.came_back import CameBack, Sent, judge
from harness.model.kernel import Kernel
from harness.model.lab_host import LabHost
from harness.model.session import Lost, SessionLost
from harness.targets.ssh import ways
from harness.targets.ssh.evidence import Evidence
from harness.targets.ssh.kernels import install, know_good
from harness.targets.ssh.machine import Machine

LEAVE_SECONDS = 150.0
"""How long a shutdown may take: systemd gives a service 90 s."""
PAUSE_SECONDS = 2.0


class Power(Protocol):
    """The machine's plug."""

    def cycle(self) -> None: ...


@dataclass(frozen=True)
class Rules:
    """How a job wants a machine booted. ``way``: "auto", or one of BootWay. ``seconds``: how long a kernel may take
    to an answer over ssh, not counting the machine's shutdown before it. ``parameters`` are added to its command line.
    ``leave``: the machine stays in the last kernel under test."""

    way: str = "auto"
    seconds: float = 300.0
    parameters: str = ""
    leave: bool = False


class Boots:
    """The boots of one machine."""

    def __init__(self, machine: Machine, rules: Rules, evidence: Evidence, power: Power | None = None) -> None:
        self.machine = machine
        self.rules = rules
        self.evidence = evidence
        self.power = power
        self.known_good = ""
        self.watchdog = ""
        """The module of the machine's hardware watchdog, as far as it has one."""
        self._armed = False
        self.booted = ""
        """The boot id of the kernel under test that we brought up last."""
        self.unread = ""
        """The same, as long as nobody has read what that kernel said while it booted."""
        self._sent: Sent | None = None
        """The boot that is on its way, until somebody knows what became of it."""
        self.cycled = False
        """We have taken the machine's power away since somebody looked."""
        self._keep: set[str] = set()
        self._said: set[str] = set()

    def into(self, kernel: Kernel, folder: Path) -> Facts:
        """Boot this kernel, from the machine's own. SessionLost: it did not come up; InfraError: that is ours."""
        machine = self.machine
        host = self._at_home()
        self.known_good = know_good(machine, host)
        line = kernel_line(host, kernel.profile, self.rules.parameters)
        choice = choose(host, self.rules.way)
        if choice.way is None:
            raise InfraError(
                f"{machine.name}: no way to boot a kernel once: {choice.why}",
                hint="install kexec-tools there, or let GRUB boot entries once",
            )
        self._keep.add(kernel.release)
        there = install(machine, host, kernel, line.initramfs, self._keep)
        self._once(f"{machine.name}: {kernel.release} is booted by {choice.why}")
        with step(f"{machine.name}: booting {kernel.release}, {choice.way}"):
            self.evidence.mark()
            facts = machine.ask()
            command = ways.prepare(machine, host, choice.way, there, line.text)
            self.watchdog = host.watchdog
            sent = self._sent = Sent(facts.boot_id, kernel.release, self.known_good)
            try:
                self._armed = self._arm(host)
                ways.leave(machine, command)
                facts = self._arrived(sent, folder)
            except Exception as error:  # an interruption leaves it open
                self._sent = None
                if isinstance(error, InfraError):
                    self._disarm(sent)
                raise
            self._sent = None
            return facts

    def settle(self) -> None:
        """After an interruption: what became of a boot that was on its way. A kernel under test that comes up is ours,
        to be taken home again; nobody else would."""
        sent, self._sent = self._sent, None
        if sent is None:
            return
        say(f"{self.machine.name} is being booted: waiting for it, to bring it home")
        came, facts = self._wait(sent, self._patience + self.machine.back_seconds)
        if came is CameBack.NEVER_LEFT:
            self._disarm(sent)
        elif came is CameBack.UP and facts is not None:
            self.booted = facts.boot_id

    def adopt(self, facts: Facts) -> None:
        """A kernel under test that a run which is gone has left the machine in is ours from now on, as if we had booted
        it. One that no run has booted stays. InfraError: the machine does not say what it runs."""
        host = self.machine.host()
        if host.runs_ours and host.known_good:
            self.known_good = host.known_good
            self.watchdog = host.watchdog
            self.booted = facts.boot_id

    def wake(self) -> Facts:
        """What the machine says now; one that does not answer may be on its way, and if it stays away has its power
        taken away for a moment. InfraError: nobody can, or that did not help. UsageError: host key or login."""
        machine = self.machine
        try:
            return machine.ask()
        except LeaseLost:
            raise
        except InfraError as error:
            say(f"{error.message}: waiting for it")
        facts = machine.back()
        if facts is None and isinstance(machine.trouble, (UsageError, LeaseLost)):
            raise machine.trouble
        if facts is None and self._cycle():
            facts = machine.again(machine.back_seconds)
        if facts is None:
            why = f": {machine.trouble.message}" if machine.trouble else ""
            raise InfraError(
                f"{machine.name} did not answer within {machine.back_seconds:.0f} s{why}", hint="look at its console"
            )
        return facts

    def _at_home(self) -> LabHost:
        """The machine in its own kernel, and well: a kernel under test, or one that died in part, boots no other."""
        host = self.machine.host()
        facts = self.machine.ask()
        if host.runs_ours or facts.oopsed:
            self.known_good = know_good(self.machine, host)
            self.home()
            host = self.machine.host()
        return host

    def _arm(self, host: LabHost) -> bool:
        """Arm the hardware watchdog; it ticks on with nobody to feed it until our agent is there. It starts before the
        shutdown does, which must not cost the kernel its time. False: it is not armed, or there is none."""
        if not host.watchdog:
            self._once(f"{self.machine.name} has no hardware watchdog: a kernel that hangs needs a hand, or a switch")
            return False
        status, said = self.machine.python("arm", f"{self._patience:.0f}", host.watchdog)
        if status != 0:
            last = (said.strip().splitlines() or ["it says nothing"])[-1]
            self._once(f"{self.machine.name}: its watchdog {host.watchdog} cannot be armed: {last}")
            return False
        return True

    def _disarm(self, sent: Sent) -> None:
        """A machine that stays where it is must not be reset under whoever has it next."""
        with suppress(HarnessError):
            if self.watchdog and self.machine.ask().boot_id == sent.boot_id:
                self.machine.python("arm", "0", self.watchdog)

    @property
    def _patience(self) -> float:
        """Seconds from the order to go to an answer."""
        return LEAVE_SECONDS + self.rules.seconds

    def _arrived(self, sent: Sent, folder: Path) -> Facts:
        """Wait for whoever answers, and judge it."""
        begun = time.monotonic()
        came, facts = self._wait(sent, self._patience + self.machine.back_seconds)
        if came is CameBack.AWAY and isinstance(self.machine.trouble, LeaseLost):
            raise self.machine.trouble
        if came is CameBack.AWAY and self._cycle():
            came, facts = self._wait(sent, self.machine.back_seconds)
        if came is CameBack.UP and facts is not None:
            self.booted = self.unread = facts.boot_id
            return facts
        name, waited = self.machine.name, f"{sent.release} was booted on {self.machine.name}"
        if came is CameBack.FELL_BACK:
            left = self.evidence.collect(folder)
            said = self.evidence.said()
            text = f"{waited}, and the machine came back with its own kernel {sent.known_good}"
            text += f" after {time.monotonic() - begun:.0f} s"
            if self._armed:
                text += f"; the watchdog ends what does not answer within {self._patience:.0f} s"
            raise SessionLost(Lost(False, f"{text}\n{_tail(left or said)}", said or left))
        if came is CameBack.NEVER_LEFT:
            raise InfraError(f"{name} did not leave {sent.known_good} within {LEAVE_SECONDS:.0f} s")
        if came is CameBack.ASTRAY and facts is not None:
            raise InfraError(f"{name} runs {facts.release}, neither {sent.release} nor its own {sent.known_good}")
        lost = Lost(True, f"{waited}, and did not come back: nobody knows what happened", self.evidence.said())
        raise SessionLost(lost)

    def _wait(self, sent: Sent, seconds: float) -> tuple[CameBack, Facts | None]:
        begun = time.monotonic()
        while True:
            left = begun + seconds - time.monotonic()
            facts = self.machine.again(max(1.0, left))
            came = judge(sent, facts.boot_id if facts else "", facts.release if facts else "")
            if came is not CameBack.NEVER_LEFT or time.monotonic() - begun > min(seconds, LEAVE_SECONDS):
                return came, facts
            time.sleep(PAUSE_SECONDS)

    def _cycle(self) -> bool:
        """Take the machine's power away for a moment; False: nobody can."""
        if self.power is None:
            return False
        with step(f"{self.machine.name}: power cycle"):
            self.cycled = True
            self.power.cycle()
        return True

    def home(self) -> None:
        """Back into the machine's own kernel, by whatever it takes. InfraError: it does not come back."""
        machine = self.machine
        with step(f"{machine.name}: back into {self.known_good}"):
            facts = self.wake()
            if facts.release == self.known_good and not facts.oopsed:  # by itself, or it had to be woken
                self.booted = ""
                return
            sent = Sent(facts.boot_id, self.known_good, self.known_good)
            for go in self._orders():
                go()
                came, found = self._wait(sent, self.machine.back_seconds)
                if came is CameBack.UP:
                    self.booted = ""
                    return
                if came is CameBack.ASTRAY and found is not None:
                    raise InfraError(f"{machine.name} runs {found.release} after a reboot, not {self.known_good}")
        raise InfraError(
            f"{machine.name} does not come back with {self.known_good}",
            hint="look at its console; switch it off and on",
        )

    def _orders(self) -> list[Callable[[], object]]:
        """From the kindest to the rudest."""
        machine = self.machine

        def order(command: str) -> Callable[[], object]:
            def go() -> None:
                if machine.again(PAUSE_SECONDS) is not None:
                    ways.leave(machine, command)

            return go

        kind = "systemctl reboot || reboot"
        return [order(kind), order("echo s > /proc/sysrq-trigger; echo b > /proc/sysrq-trigger"), self._cycle]

    def _once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.machine.note(text)


def _tail(text: str, lines: int = 60) -> str:
    return "\n".join(text.splitlines()[-lines:])
