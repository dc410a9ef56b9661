# SPDX-License-Identifier: GPL-2.0-only
"""The verb for a reviewer: everything about one series."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from harness.cli_out import filling, out_option
from harness.cli_prove import SRC
from harness.job import Job, check, read_toml
from harness.model.judge import EXIT_CODES
from harness.model.kernel import Profile
from harness.model.variant import AddressMode


@click.command()
@click.argument("series", required=False)
@click.option("--previous", metavar="SERIES", default="", help="the revision before  [looked for on the list]")
@click.option("--kernel", metavar="SRC", help=f"what the series is for: {SRC}")
@click.option("--base-patch", metavar="FILE", help="applied to SRC first, for a kernel that carries the series")
@click.option("--base", metavar="SRC", help="the base lane is another kernel")
@click.option("--npu", type=click.Choice(["npu1", "npu4", "npu5", "npu6"]), help="generation of the NPU  [npu4]")
@click.option("--address-mode", type=click.Choice([m.value for m in AddressMode]), help="[sva]")
@click.option("--profile", type=click.Choice([p.value for p in Profile]), help="kernel configuration  [plain]")
@click.option("-k", "select", metavar="EXPR", help="only tests that match, as in pytest")
@click.option("--quick", is_flag=True, default=None, help="only the tests of the quick set")
@click.option("--fresh", is_flag=True, default=None, help="ask every test, also what an earlier run answered")
@click.option("--workers", type=click.IntRange(0, 64), help="guests at a time  [as cores and memory allow]")
@click.option("--job", "job_file", metavar="FILE", type=click.Path(path_type=Path), help="a jobs/*.toml")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of text")
@out_option("[runs/review-<time>]")
def review(previous: str, job_file: Path | None, as_json: bool, out: Path | None, **options: Any) -> None:
    """Everything about SERIES for a person who reviews it: each patch built and tested, what static checks newly
    complain about, what has changed since the previous revision, and where the series stands. Exit status as of run:
    static complaints and remarks are shown, and decide nothing."""
    from harness.host.store import Store
    from harness.reporters import page, write
    from harness.reporters import review as reporter
    from harness.reporters.page.review import sections
    from harness.review import Request, Reviewer

    given = {key: value for key, value in options.items() if value is not None}
    if job_file is None and not {"series", "kernel"} <= given.keys():
        raise click.UsageError(f"which series, for which kernel? give SERIES --kernel SRC ({SRC}), or --job FILE")
    job = read_toml(job_file, Job, **options) if job_file is not None else check(given, Job, "command line")
    folder = out or Path("runs") / f"review-{datetime.now():%Y-%m-%d-%H%M%S}"
    with filling(folder):
        found = Reviewer(Request(job, previous), folder, Store()).review()
    write(found.report)
    (folder / "report.html").write_text(page.render(found.report, sections(found)))
    (folder / "review.json").write_text(reporter.as_json(found))
    click.echo(reporter.as_json(found) if as_json else reporter.render(found), nl=False)
    if not as_json:
        click.echo(f"{folder}: {found.report.verdict}")
    sys.exit(EXIT_CODES[found.report.verdict])
