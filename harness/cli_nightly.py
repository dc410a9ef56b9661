# SPDX-License-Identifier: GPL-2.0-only
"""The verbs of a lab with nights: the matrix (nightly), what came of it (history), one test again (repro)."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from harness.errors import InfraError
from harness.log import printable, say


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
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path), help="folder  [runs/repro-<time>]")
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
    try:
        for answer in asking.answers(times, seconds, how["until_fail"]):
            answers.append(answer)
            say(line(answer, len(answers), times))
    except BrokenPipeError as error:
        raise InfraError("a process of the lab went away", hint=f"what happened so far is in {folder}") from error
    about = {"run": str(run_folder), "test": question.test, "lane": lane, "same": asking.same, "out": str(folder)}
    if as_json:
        click.echo(json.dumps(data(answers, {**about, "known": list(question.known)}), indent=1))
    else:
        click.echo(printable("\n".join(summary(answers, about, question.known))))
    sys.exit(status(answers))


VERBS = (repro,)
