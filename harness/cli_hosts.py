# SPDX-License-Identifier: GPL-2.0-only
"""The verb for the machines of a lab: who has them, and whether they may be used."""

from __future__ import annotations

import getpass
import json
import sys
from typing import Any

import click

from harness.errors import UsageError
from harness.log import printable


@click.command()
@click.option("--repair", "mend", metavar="HOST", help="probe it, reboot it, switch it off and on, as far as it takes")
@click.option("--healthy", metavar="HOST", help="it may be used again (--reason)")
@click.option("--broken", metavar="HOST", help="no run may use it (--reason)")
@click.option("--reason", metavar="TEXT", default="", help="why, for others to read")
@click.option("--past", metavar="HOST", help="all that became of it")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of text")
def hosts(
    mend: str | None, healthy: str | None, broken: str | None, reason: str, past: str | None, as_json: bool
) -> None:
    """Machines behind ssh: HEALTHY, SUSPECT (repaired before the next run) or BROKEN, since when and why, and who has
    them. HOST is [USER@]HOST as in --target.

    XDNA_HARNESS_LEASES says where that is written: an SQLite file, or postgresql://USER@SERVER/NAME for a lab whose
    machines are used from several others. Without it: /var/lib/xdna-harness if that can be written, else a file of this
    user's.

    Exit status: 0, or with --repair 3 when it is still BROKEN.
    """
    from harness import holding
    from harness.host.ssh_config import reach
    from harness.model.health import HostState

    who = f"by hand, {getpass.getuser()}"
    if mend:
        machine, outcome = holding.mend(mend, f"hosts --repair, {getpass.getuser()}")
        data = {"machine": machine, "state": outcome.state, "reason": outcome.reason}
        click.echo(json.dumps(data) if as_json else printable(f"{machine} is {outcome.state}: {outcome.reason}"))
        sys.exit(0 if outcome.state is HostState.HEALTHY else 3)
    leases, record = holding.tables()
    for name, state in ((healthy, HostState.HEALTHY), (broken, HostState.BROKEN)):
        if name:
            if not reason:
                raise UsageError(f"why is {name} {state}?", hint="say it with --reason, for others to read")
            record.set(holding.name_of(reach(name)), state, reason, who)
    if past:
        machine = holding.name_of(reach(past))
        rows: list[dict[str, Any]] = [{"machine": machine, **vars(health)} for health in record.past(machine)]
        lines = [holding.told(machine, health) for health in record.past(machine)]
    else:
        held = {row.machine: row for row in leases.all() if row.held}
        rows, lines = [], []
        for machine in sorted({*record.machines(), *held}):
            health, holder = record.now(machine), held.get(machine)
            about = vars(health) if health else {"state": None}
            rows.append({"machine": machine, **about, "held": str(holder) if holder else ""})
            lines.append(holding.told(machine, health) if health else f"{machine}: nobody has looked at it yet")
            lines += [f"  {holder}"] if holder else []
    click.echo(json.dumps(rows, indent=1) if as_json else printable("\n".join(lines) or "no machine is known yet"))


VERBS = (hosts,)
