# SPDX-License-Identifier: GPL-2.0-only
"""The verbs of a lab with nights: the matrix (nightly), what came of it (history), one test again (repro)."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli_out import Folder, filling, out_option
from harness.errors import UsageError
from harness.log import printable, say

if TYPE_CHECKING:
    from harness.job import Job
    from harness.model.report import Report
    from harness.model.result import Result


@click.command()
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("test")
@click.option("--lane", default="head", show_default=True, help="base, head, patch-K or without-K")
@click.option("--times", type=click.IntRange(1), help="so often, each in a fresh guest  [1; 100 with --until-fail]")
@click.option("--until-fail", is_flag=True, help="end with the first time that it fails")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="begin no further guest after that")
@click.option("--with-before", is_flag=True, help="also ask, before it, what ran before it in its guest")
@click.option("--shell", "wants_shell", is_flag=True, help="a shell in the guest in which it failed")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of text")
@out_option("folder  [runs/repro-<time>]")
def repro(run_folder: Path, test: str, lane: str, as_json: bool, out: Path | None, **how: Any) -> None:
    """Ask TEST of RUN again: same kernel, driver, NPU and start of the guest, that test only. TEST is its id or an
    unambiguous part of that.

    Exit status: 0 it did not fail, 1 it failed, 3 it could not be asked.
    """
    from harness.host.store import Store
    from harness.reporters.again import data, line, summary
    from harness.repro import Repro, read, status
    from harness.shell import line_shell

    question = read(run_folder, test, lane)
    folder = out or Path("runs") / f"repro-{datetime.now():%Y-%m-%d-%H%M%S}"
    visit = line_shell if how["wants_shell"] else None
    asking = Repro(question, folder, Store(), visit, how["with_before"])
    times = how["times"] or (100 if how["until_fail"] else 1)
    seconds = 60 * (how["minutes"] or float("inf"))
    answers = []
    with filling(folder):
        for answer in asking.answers(times, seconds, how["until_fail"]):
            answers.append(answer)
            say(line(answer, len(answers), times))
    about = {"run": str(run_folder), "test": question.test, "lane": lane, "same": asking.same, "out": str(folder)}
    if as_json:
        click.echo(json.dumps(data(answers, {**about, "known": list(question.known)}), indent=1))
    else:
        click.echo(printable("\n".join(summary(answers, about, question.known))))
    sys.exit(status(answers))


_STATE = click.option(
    "--state",
    metavar="DIR",
    type=Folder(),
    help="folder of the history and the runs  [~/.local/state/xdna-harness/nightly]",
)


@click.command()
@click.option("--matrix", "file", metavar="FILE", type=click.Path(path_type=Path), help="[jobs/nightly.toml]")
@_STATE
@click.option("--hours", type=click.FloatRange(0, 168, min_open=True), help="how long the night is  [as FILE says]")
@click.option("--plan", "only_plan", is_flag=True, help="only say what would be asked, in which order, and why")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of text")
def nightly(file: Path | None, state: Path | None, hours: float | None, only_plan: bool, as_json: bool) -> None:
    """Ask the jobs of a matrix, the most valuable first, as long as the night lasts; the first line says what changed
    since last night. Killed at any point, the next start goes on where it stopped.

    Exit status: 0 nothing is worse, 1 something is, 3 the lab's trouble.
    """
    from harness.host.claim import claim
    from harness.host.data import data_folder
    from harness.host.nights import Nights
    from harness.host.state import state_folder
    from harness.host.store import Store
    from harness.matrix import read_matrix
    from harness.nightly import Nightly
    from harness.reporters import night, write
    from harness.repro import Repro, read
    from harness.run import Run

    matrix, jobs = read_matrix(file or data_folder("jobs") / "nightly.toml")
    if hours is not None:
        matrix = matrix.model_copy(update={"hours": hours})
    store = Store()

    def ask(job: Job, folder: Path) -> Report:
        report = Run(job, folder, store).execute()
        write(report)
        return report

    def ask_again(run: Path, test: str, folder: Path, times: int) -> list[Result]:
        return list(Repro(read(run, test), folder, store).answers(times))

    with claim(store.root / "nightly.lock", "a nightly"):
        nights = Nights((state or state_folder() / "nightly").resolve())
        try:
            one = Nightly(matrix, jobs, nights, store, ask, ask_again)
            if only_plan:
                click.echo(printable(night.plan([entry for entry, _ in one.plan()], as_json)), nl=False)
                return
            came = one.execute()
        finally:
            nights.close()
    click.echo(night.data(came) if as_json else night.text(came), nl=False)
    sys.exit(came.exit_status)


@click.command()
@click.argument("test", default="")
@_STATE
@click.option("--nights", "count", type=click.IntRange(1), default=30, show_default=True, help="so many, the last ones")
@click.option("--html", metavar="FILE", type=click.Path(path_type=Path), help="write a page")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of text")
def history(test: str, state: Path | None, count: int, html: Path | None, as_json: bool) -> None:
    """Trend and flake rate of each test over the last nights; of TEST (a part of its id) every night."""
    from harness.host.nights import Nights
    from harness.host.state import state_folder
    from harness.model.trend import trends
    from harness.reporters import history as reporter
    from harness.reporters.page import nights as page

    folder = (state or state_folder() / "nightly").resolve()
    if not (folder / "history.sqlite").exists():
        raise UsageError(f"there is no history in {folder}", hint="'xdna-harness nightly' begins one; or name --state")
    nights = Nights(folder)
    try:
        found = trends(point for point in nights.points(count) if test in point.test)
    finally:
        nights.close()
    if test and not found:
        raise UsageError(f"no test like {test!r} in the last {count} nights", hint="name a part of its id")
    if html is not None:
        drawn = page.render(found, f"{test or 'All tests'}, the last {count} nights", bool(test))
        try:
            html.write_text(drawn)
        except OSError as error:
            raise UsageError(f"cannot write {html}: {error.strerror}", hint="name another file") from error
    if as_json:
        click.echo(reporter.data(found), nl=False)
    elif html is None:
        click.echo(reporter.text(found, count, bool(test)), nl=False)
    else:
        click.echo(f"written to {html}")


VERBS = (repro, nightly, history)
