# SPDX-License-Identifier: GPL-2.0-only
"""The state of a machine before a run and after it: clock, space, leftovers, who has the NPU open."""

from __future__ import annotations

import time

from harness.errors import InfraError
from harness.formats import grub
from harness.model.lab_host import LabHost
from harness.model.upkeep import jumped, skew
from harness.targets.ssh.machine import Machine

_TEMPORARY = "/tmp/xdna-"


class Upkeep:
    """Looks at one machine, says what a reader must know, and cleans up what is ours."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._before: LabHost | None = None
        self._ahead = 0.0

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
        self._forget_entries(host)

    def _look(self) -> tuple[LabHost, float]:
        """The machine, and how far its clock is ahead of ours: half of the answer's way taken off."""
        begun = time.time()
        host = self.machine.host()
        return host, host.clock - (begun + time.time()) / 2 if host.clock else 0.0

    def _sweep(self, host: LabHost) -> None:
        """Folders that no process works in."""
        ours = [folder for folder in host.left if folder.startswith(_TEMPORARY) and folder.isprintable()]
        if ours:
            self.machine.do("removing what a run left behind", f"rm -rf -- {' '.join(ours)}")

    def _forget_entries(self, host: LabHost) -> None:
        """A kernel under test is no entry of the machine's boot menu for longer than it is needed."""
        if top := host.boot_partition:
            script = f"rm -rf {top}/xdna-harness {top}/loader/entries/xdna-*.conf"
            self.machine.do("clearing the boot partition", script)
        if host.grub is None:
            return
        custom = f"{host.grub.folder}/custom.cfg"
        old = self.machine.do("reading custom.cfg", f"cat {custom} 2>/dev/null || :")
        if grub.entry_ids(old):
            new = grub.with_entries(old, ())
            script = f"cat > {custom}.part && mv {custom}.part {custom}" if new else f"rm -f {custom}"
            self.machine.do("clearing custom.cfg", script, 60.0, new.encode())
