# SPDX-License-Identifier: GPL-2.0-only
"""The machine that a job borrows for its run, and what kernels are asked for on its behalf."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.errors import UsageError
from harness.host.data import data_folder
from harness.host.lab_file import outside
from harness.host.leases import Lease
from harness.host.power import LeasedPower
from harness.host.ssh_config import reach
from harness.job import Job
from harness.targets.ssh.boots import Boots, Rules
from harness.targets.ssh.evidence import Evidence
from harness.targets.ssh.guests import SshLab
from harness.targets.ssh.machine import Machine

NEVER = "never"


def fragments(job: Job) -> tuple[Path, ...]:
    """kconfig fragments on top of the profile's: what a machine of metal needs, and the user's own. UsageError: one is
    not there."""
    lab = data_folder("jobs") / "kconfig" / "lab.config"
    own = tuple(map(Path, job.kconfig))
    for path in own:
        if not path.is_file():
            raise UsageError(f"no kconfig fragment {path}", hint="name a file with CONFIG_ lines, a reason above each")
    return (*((lab,) if job.machine and job.boot != NEVER else ()), *own)


def borrow(job: Job, out: Path, lease: Lease, note: Callable[[str], None]) -> SshLab:
    """The machine behind ssh that the job names, with its switch and its console as far as the lab file knows them;
    what the console says goes to ``out``/console.log. ``note`` goes into the report. Every command and the switch are
    behind the lease. UsageError: the ssh configuration or the lab file cannot be read."""
    machine = Machine(reach(job.machine), lease, job.boot_seconds, note)
    from_outside = outside(machine.name)
    evidence = Evidence(machine, from_outside.console(out / "console.log"))
    boots = None
    if job.boot != NEVER:
        rules = Rules(job.boot, job.boot_seconds, job.boot_parameters, job.leave)
        power = from_outside.power
        boots = Boots(machine, rules, evidence, LeasedPower(power, lease.check) if power else None)
    return SshLab(machine, evidence, boots)
