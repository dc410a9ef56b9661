# SPDX-License-Identifier: GPL-2.0-only
"""The state of a machine before a run and after it: clock, space, leftovers, who has the NPU open."""

from __future__ import annotations

import re
import shlex
import time

from harness.errors import InfraError
from harness.host.shipped import DRIVER
from harness.model.lab_host import LabHost
from harness.model.upkeep import jumped, skew
from harness.targets.ssh import ways
from harness.targets.ssh.machine import Machine

DRIVER_SECONDS = 60.0
LOADED = f"/sys/module/{DRIVER}"
TAKE_OURS = f"test ! -e {LOADED} || rmmod {DRIVER} 2>&1"
OWN_DRIVER = f"modprobe -nq {DRIVER} || exit 0; modprobe {DRIVER} 2>&1"
_HOME = re.compile(r"/tmp/xdna-[A-Za-z0-9]{8}")
"""What a machine says is not believed: it becomes a command of root's."""


class Upkeep:
    """Looks at one machine, says what a reader must know, and cleans up what is ours."""

    def __init__(self, machine: Machine, gives_back: bool = False) -> None:
        """``gives_back``: nobody boots the machine in the end, which would bring its own driver back."""
        self.machine = machine
        self._gives_back = gives_back
        self._before: LabHost | None = None
        self._ahead = 0.0
        self._had_driver = False
        self.ours = ""
        """The boot in which one of ours still is."""

    def first(self) -> None:
        """Before the run's first session. InfraError: somebody else uses the NPU."""
        if self._before is not None:
            return
        host, ahead = self._look()
        name = self.machine.name
        if host.users:
            raise InfraError(
                f"{name}: the NPU is in use by {', '.join(host.users[:3])}", hint="end that there, or wait for its end"
            )
        if off := skew(ahead, 0.0):
            self.machine.note(f"{name}: its clock is {abs(off):.0f} s {'ahead' if off > 0 else 'behind'} of ours")
        self._had_driver = self.machine.root(f"test -e {LOADED}", DRIVER_SECONDS)[0] == 0
        self._before, self._ahead = host, ahead
        self._sweep(host)

    def last(self) -> None:
        """After the run. InfraError: it does not answer."""
        if self._before is None:
            return
        host, ahead = self._look()
        name = self.machine.name
        if moved := jumped(self._ahead, ahead):
            self.machine.note(f"{name}: its clock jumped by {moved:+.0f} s during the run; no result rests on it")
        if host.users:
            self.machine.note(f"{name}: the NPU is still in use by {', '.join(host.users[:3])}")
        self._sweep(host)
        ways.forget(self.machine, host)
        self._give_back_driver()

    def _give_back_driver(self) -> None:
        """The machine's own, if it has one and had it loaded."""
        name = self.machine.name
        if self.ours and self.ours == self.machine.ask().boot_id:
            status, said = self.machine.root(TAKE_OURS, DRIVER_SECONDS)
            if status != 0:
                self.machine.note(f"{name}: the driver under test does not go: {said.strip()[-200:]}")
                return
        if self._had_driver and self._gives_back:
            status, said = self.machine.root(OWN_DRIVER, DRIVER_SECONDS)
            if status != 0:
                self.machine.note(f"{name}: its own driver does not load again: {said.strip()[-200:]}")

    def _look(self) -> tuple[LabHost, float]:
        """The machine, and how far its clock is ahead of ours: half of the answer's way taken off."""
        begun = time.time()
        host = self.machine.host()
        return host, host.clock - (begun + time.time()) / 2 if host.clock else 0.0

    def _sweep(self, host: LabHost) -> None:
        """Folders that no process works in."""
        ours = [folder for folder in host.left if _HOME.fullmatch(folder)]
        if ours:
            self.machine.do("removing what a run left behind", f"rm -rf -- {shlex.join(ours)}")
