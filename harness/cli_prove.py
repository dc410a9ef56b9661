# SPDX-License-Identifier: GPL-2.0-only
"""The verbs that question our own tests: what they catch (prove), and what they do not know yet (hunt)."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from harness.cli_out import filling, out_option
from harness.job import Job, check, read_toml
from harness.log import printable, say
from harness.model.kernel import Profile
from harness.model.variant import AddressMode

SRC = "debian:VERSION, debian-bin:VERSION (as shipped), git:URL-or-path#REF, dir:PATH or tar:PATH"


@click.command()
@click.option("--kernel", metavar="SRC", help=f"where the bugs are planted: {SRC}  [debian:7.3]")
@click.option("--npu", type=click.Choice(["npu1", "npu4", "npu5", "npu6"]), help="generation of the NPU  [npu4]")
@click.option("--address-mode", type=click.Choice([m.value for m in AddressMode]), help="[sva]")
@click.option("--profile", type=click.Choice([p.value for p in Profile]), help="kernel configuration  [plain]")
@click.option("-k", "select", metavar="EXPR", help="only tests that match, as in pytest")
@click.option("--fresh", is_flag=True, default=None, help="ask the driver without any bug again, too")
@click.option("--workers", type=click.IntRange(0, 64), help="guests at a time  [as cores and memory allow]")
@click.option("--job", "job_file", metavar="FILE", type=click.Path(path_type=Path), help="[jobs/prove.toml]")
@click.option("--planted", metavar="DIR", type=click.Path(path_type=Path), help="folder of the bugs  [patches/planted]")
@click.option("--only", metavar="ID[,ID]", multiple=True, help="only these bugs")
@click.option(
    "--against-itself", metavar="N", type=click.IntRange(1), help="no bugs: N runs of the driver against itself"
)
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of text")
@out_option("folder of the proof  [runs/prove-<time>]")
def prove(
    job_file: Path | None,
    planted: Path | None,
    only: tuple[str, ...],
    against_itself: int | None,
    as_json: bool,
    out: Path | None,
    **options: Any,
) -> None:
    """Plant bugs in the driver, one after the other, and see which of them the suite catches. 0: at least 90 % and no
    false alarm; 1: less; 3: what the lab failed to find out decides."""
    from harness.host.data import data_folder
    from harness.host.store import Store
    from harness.knowledge import planted_bugs
    from harness.prove import Prove, chosen
    from harness.reporters import score as reporter

    job = read_toml(job_file or data_folder("jobs") / "prove.toml", Job, **options)
    if against_itself:
        sys.exit(_false_alarms(job, against_itself, out, as_json))
    names = [name for names in only for name in names.split(",") if name]
    bugs = chosen(planted_bugs(planted or data_folder("patches") / "planted"), names)
    folder = out or Path("runs") / f"prove-{datetime.now():%Y-%m-%d-%H%M%S}"
    with filling(folder):
        found = Prove(job, bugs, folder, Store(), whole=planted is None and not names).execute()
    (folder / "score.json").write_text(reporter.data(found))
    click.echo(reporter.data(found) if as_json else reporter.text(found), nl=False)
    say(f"{folder}: {found}")
    sys.exit(found.exit_code)


def _false_alarms(job: Job, times: int, out: Path | None, as_json: bool) -> int:
    """A driver against itself: 0 when it was never found worse."""
    from harness.host.store import Store
    from harness.itself import against_itself
    from harness.run import Run

    folder, store = out or Path("runs") / f"itself-{datetime.now():%Y-%m-%d-%H%M%S}", Store()
    with filling(folder):
        found = against_itself(job, times, folder, store, lambda asked, where: Run(asked, where, store).execute())
    told = {"runs": found.runs, "bad": found.bad, "unknown": found.unknown}
    click.echo(json.dumps(told) if as_json else f"false alarms: {found}")
    return 1 if found.bad else 3 if found.unknown else 0


@click.command()
@click.option("--kernel", metavar="SRC", default="debian:7.3", show_default=True, help=SRC)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="of the first walk")
@click.option("--minutes", type=click.FloatRange(0, 1440, min_open=True), default=10.0, show_default=True)
@click.option("--steps", type=click.IntRange(1, 1000), default=60, show_default=True, help="of a walk")
@click.option("--walks", type=click.IntRange(min=0), default=0, help="no more than so many  [as the time allows]")
@click.option("--script", metavar="FILE", type=click.Path(path_type=Path), help="no walk: this script, three times")
@click.option("--npu", default="npu4", show_default=True)
@click.option("--address-mode", default="sva", show_default=True)
@click.option("--profile", default="plain", show_default=True)
@click.option("--edit", "edits", metavar="NAME|FILE", multiple=True, help="a change by pattern on the driver")
@click.option("--workers", type=int, default=0, help="guests at a time  [as cores and memory allow]")
@out_option("folder  [runs/hunt-<time>]")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of text")
def hunt(script: Path | None, out: Path | None, as_json: bool, **options: Any) -> None:
    """Walk at random over calls, allocations that fail and firmware that misbehaves, one walk a guest. What nobody
    knows yet is asked again, and shrunk to a short script.

    Exit status: 0 nothing new, 1 something new, 3 the lab's trouble.
    """
    from harness.host.store import Store
    from harness.hunt import Hunt, Request, read_script

    given = read_script(script) if script is not None else None
    walk = {name: options.pop(name) for name in ("seed", "minutes", "steps", "walks")}
    job = check(options, Job, "command line")
    folder = out or Path("runs") / datetime.now().strftime("hunt-%Y-%m-%d-%H%M%S")
    hunting = Hunt(Request(job, folder, **walk), Store())
    with filling(folder), closing(hunting):
        status = hunting.walks() if given is None else hunting.repeat(given)
    if as_json:
        click.echo(json.dumps({**hunting.data(), "out": str(folder)}, indent=1))
    else:
        click.echo(printable("\n".join([*hunting.summary(), str(folder)])))
    sys.exit(status)
