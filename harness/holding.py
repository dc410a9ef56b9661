# SPDX-License-Identifier: GPL-2.0-only
"""A run's machine: ours from before the first command to after the last one, repaired before it is used, looked at
before it is given back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import datetime

from harness.errors import HarnessError, InfraError
from harness.host.database import Database
from harness.host.health import TABLE as HEALTH
from harness.host.health import HealthRecord
from harness.host.holder import this_process
from harness.host.lab_file import outside
from harness.host.labgrid import place
from harness.host.leases import TABLE as LEASES
from harness.host.leases import Lease, LeaseLost, Leases, default_url
from harness.host.pci import full_address
from harness.host.remote import Remote
from harness.host.ssh_config import PORT, Reach, reach
from harness.job import MACHINE_SECONDS, Job
from harness.log import say
from harness.model.health import Health, HostState, Outcome
from harness.repair import repair

MEND_SECONDS = MACHINE_SECONDS


def tables(url: str = "") -> tuple[Leases, HealthRecord]:
    """Leases and states of this lab's machines. InfraError, UsageError."""
    database = Database(url or default_url(), (LEASES, HEALTH))
    return Leases(database), HealthRecord(database)


def name_of(way: Reach) -> str:
    """What a machine is called in the tables: where it is reached. Two names of one machine are two machines here; what
    then happens on it, only the fence there sees."""
    return way.host if way.port == PORT else f"{way.host}:{way.port}"


def told(machine: str, health: Health) -> str:
    """A state in a line, for a person."""
    since = f"{datetime.fromtimestamp(health.at):%Y-%m-%d %H:%M}"
    return f"{machine} is {health.state} since {since} ({health.run}): {health.reason}"


@contextmanager
def held(job: Job, run: str, lost: Callable[[str], None]) -> Iterator[Lease]:
    """Have the job's machine, HEALTHY as far as anybody knows. ``lost`` is told why when it is ours no more.

    InfraError: others have it for too long, or it is BROKEN.
    """
    way = reach(job.machine)
    machine = name_of(way)
    leases, record = tables()
    _not_broken(job.machine, machine, record)
    with leases.hold(machine, run, job.wait_seconds) as lease, _place(job):
        lease.on_lost = lost
        _not_broken(job.machine, machine, record)
        hands = _hands(way, lease, job.boot_seconds)
        if lease.abandoned is not None:
            record.set(machine, HostState.SUSPECT, f"its last holder died with it: {lease.abandoned.holder}", run)
        known = record.now(machine)
        if known is not None and known.state is HostState.SUSPECT:
            say(told(machine, known))
            repair(machine, hands, record, run)
            _not_broken(job.machine, machine, record)
        try:
            yield lease
        finally:
            # Only now: a run goes on in the kernel in which one that is gone left the machine.
            hands.home = not job.leave and job.boot != "never"
            _look_at(machine, hands, record, run)


@contextmanager
def lent(job: Job, run: str, lost: Callable[[str], None]) -> Iterator[Lease]:
    """Have the job's PCI device of this host. InfraError: others have it for too long."""
    leases, _ = tables()
    machine = f"{this_process(run).host} {full_address(job.lent)}"
    with leases.hold(machine, run, job.wait_seconds) as lease, _place(job):
        lease.on_lost = lost
        yield lease


def _hands(way: Reach, lease: Lease, back_seconds: float) -> Remote:
    """What can be done to a machine over ssh, and by its switch if the lab file knows one."""
    power = outside(way.name).power
    return Remote(way, lease, power.cycle if power else None, back_seconds)


def _place(job: Job) -> AbstractContextManager[None]:
    return place(job.place, job.wait_seconds) if job.place else nullcontext()


def _look_at(machine: str, hands: Remote, record: HealthRecord, run: str) -> None:
    """The run is over: nothing that shows now changes what it came to. A machine that a person has called BROKEN
    meanwhile stays so."""
    try:
        known = record.now(machine)
        if known is not None and known.state is HostState.BROKEN:
            say(told(machine, known))
            return
        repair(machine, hands, record, run)
    except LeaseLost:
        say(f"{machine} is not ours any more: who has it will see in which state it is")
    except HarnessError as error:
        say(f"nobody knows how {machine} is: {error.message}")
    except BaseException:
        with suppress(HarnessError):
            record.set(machine, HostState.SUSPECT, "the run was interrupted before anybody had looked at it", run)
        raise


def mend(target: str, run: str) -> tuple[str, Outcome]:
    """Repair a machine that a person names: how it is called, and how that ended. InfraError: somebody has it."""
    way = reach(target)
    machine = name_of(way)
    leases, record = tables()
    with leases.hold(machine, run, 0.0) as lease:
        hands = _hands(way, lease, MEND_SECONDS)
        hands.home = True
        return machine, repair(machine, hands, record, run)


def _not_broken(target: str, machine: str, record: HealthRecord) -> None:
    known = record.now(machine)
    if known is not None and known.state is HostState.BROKEN:
        raise InfraError(
            told(machine, known),
            hint=f"mend it, then 'xdna-harness hosts --repair {target}', or '--healthy {target} --reason WHY'",
        )
