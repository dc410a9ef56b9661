# SPDX-License-Identifier: GPL-2.0-only
"""The verbs: the only place that exits, and that turns errors into exit codes.

0 GOOD   1 BAD, or the series' author must act   2 the person at the keyboard must act
3 UNKNOWN, or the lab must act                   70 our own bug
"""

from __future__ import annotations

import json
import sys
import traceback
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from harness import cli_compare, cli_hosts, cli_nightly, cli_prove, cli_review, cli_self
from harness.cli_out import filling, out_option
from harness.cli_prove import SRC
from harness.ending import end_in_order
from harness.errors import HarnessError, UsageError
from harness.host.sandbox import let_it_read
from harness.job import Job, check, read_toml
from harness.log import printable, say
from harness.model.judge import EXIT_CODES
from harness.model.kernel import Profile
from harness.model.report import Report
from harness.model.variant import AddressMode

OUR_BUG = 70
INTERRUPTED = 130

_JSON = click.option("--json", "as_json", is_flag=True, help="print JSON instead of text")
_SERIES = "message-id, archive URL, mbox, maildir or patch file, or git:TREE#A..B"
FORMS = ("text", "json", "junit", "ktap", "markdown", "html", "b4", "patchwork", "kcidb", "reply")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="xdna-harness")
def cli() -> None:
    """Does a kernel patch series make the AMD NPU driver worse, and which patch did it?"""


@cli.command()
@click.argument("series", required=False)
@click.option("--kernel", metavar="SRC", help=f"kernel under test: {SRC}")
@click.option(
    "--base-patch",
    metavar="FILE",
    help="applied to SRC to make the base tree, for a kernel that carries the series",
)
@click.option("--base", metavar="SRC", help="the base lane is another kernel")
@click.option(
    "--target",
    metavar="TARGET",
    help="emulated, ssh:HOST, where the kernels are booted, or passthrough:PCI-ADDRESS  [emulated]",
)
@click.option("--place", metavar="NAME", help="a place of labgrid that is acquired meanwhile (LG_COORDINATOR)")
@click.option("--wait-seconds", metavar="N", type=float, help="how long for a machine that others have  [3600]")
@click.option(
    "--boot",
    type=click.Choice(["auto", "kexec", "grub", "systemd-boot", "never"]),
    help="on ssh:HOST: the way into a kernel once, or never: it runs there already  [auto]",
)
@click.option("--boot-seconds", type=float, help="how long a kernel may take until it answers  [90; on ssh:HOST 300]")
@click.option("--test-seconds", type=float, help="how long a test may take  [60; soak: 1200, half of it under load]")
@click.option("--boot-parameters", metavar="WORDS", help="on ssh:HOST: more for the kernel's command line")
@click.option("--leave", is_flag=True, default=None, help="on ssh:HOST: leave it in the last kernel under test")
@click.option(
    "--kconfig",
    metavar="FILE",
    multiple=True,
    callback=lambda context, parameter, value: value or None,
    help="a fragment of kernel configuration on top of the others",
)
@click.option("--npu", type=click.Choice(["npu1", "npu4", "npu5", "npu6"]), help="generation of the NPU  [npu4]")
@click.option(
    "--address-mode",
    type=click.Choice([m.value for m in AddressMode]),
    help="how the driver addresses memory  [sva]",
)
@click.option("--profile", type=click.Choice([p.value for p in Profile]), help="kernel configuration  [plain]")
@click.option(
    "--suite",
    type=click.Choice(["heap", "mode", "stress", "enumeration", "soak"]),
    help="all tests, those that depend on the address mode, repetitions, every allocation failing, or a load  [heap]",
)
@click.option("-k", "select", metavar="EXPR", help="only tests that match, as in pytest")
@click.option("--quick", is_flag=True, default=None, help="only the tests of the quick set")
@click.option("--per-patch", is_flag=True, default=None, help="build and test every patch, and name the culprit")
@click.option(
    "--edit",
    "edits",
    metavar="NAME|FILE",
    multiple=True,
    callback=lambda context, parameter, value: value or None,
    help="a change by pattern on top of every lane: of patches/edits, or a file",
)
@click.option("--start", type=click.Choice(["restored", "cold"]), help="restore saved guests, or boot  [restored]")
@click.option("--fresh", is_flag=True, default=None, help="ask every test, also what an earlier run answered")
@click.option("--coverage", is_flag=True, default=None, help="count which lines of the driver the tests run")
@click.option("--kmemleak", is_flag=True, default=None, help="look for lost memory (debug profile; twice as long)")
@click.option("--traced", is_flag=True, default=None, help="record what was answered, for compare-npu")
@click.option("--workers", type=click.IntRange(0, 64), help="guests at a time  [as cores and memory allow]")
@click.option(
    "--job",
    "job_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="a jobs/*.toml; options replace its keys",
)
@out_option("run folder  [runs/<time>]")
@_JSON
def run(job_file: Path | None, out: Path | None, as_json: bool, **options: Any) -> None:
    """Build, boot and test the kernel with and without SERIES, and say what got worse."""
    from harness.host.store import Store
    from harness.run import Run

    job = _job(job_file, options)
    folder = out or Path("runs") / datetime.now().strftime("%Y-%m-%d-%H%M%S")
    with filling(folder):
        report = Run(job, folder, Store()).execute()
    _write(report)
    click.echo(_rendered(report, "json" if as_json else "text"), nl=False)
    click.echo(f"{folder}: {report.verdict}", err=as_json)
    sys.exit(EXIT_CODES[report.verdict])


def _job(job_file: Path | None, options: dict[str, Any]) -> Job:
    """The job of a file, of the command line, or of both."""
    if job_file is not None:
        return read_toml(job_file, Job, **options)
    given = {key: value for key, value in options.items() if value is not None}
    if "kernel" not in given:
        raise click.UsageError(f"which kernel? give --kernel SRC ({SRC}), or --job FILE")
    return check(given, Job, "command line")


def _rendered(found: Report, form: str, who: str = "") -> str:
    from harness.reporters import render

    return render(found, form, who)


def _write(found: Report) -> None:
    from harness.reporters import write

    write(found)


@cli.command()
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--format", "form", type=click.Choice(FORMS), default="text", show_default=True)
@click.option("--as", "who", metavar="'NAME <MAIL>'", default="", help="who stands for a reply, for its trailers")
@click.option("--json", "form", flag_value="json", help="the same as --format json")
@click.option("--runs", metavar="DIR", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
def report(run_folder: Path, form: str, who: str, runs: Path) -> None:
    """Make the report of a run again from its records. Nothing is sent anywhere: b4 is what 'b4 review' reads from a
    check command, patchwork and kcidb are bodies of submissions, reply is a mail's text.

    RUN may be -: then it is the newest one in --runs for the series of the mail on standard input, as b4 calls a check
    command ("git config b4.review-series-check-cmd 'xdna-harness report - --format b4 --runs DIR'")."""
    from harness.report import derive
    from harness.reporters import checks
    from harness.runs import of_mail

    found = of_mail(runs, sys.stdin.buffer.read()) if str(run_folder) == "-" else run_folder
    if found is None:
        why = f"no run of this series in {runs.absolute()}"
        if form != "b4":
            raise UsageError(why, hint="xdna-harness run SERIES, or name another --runs")
        click.echo(checks.untested(why), nl=False)
        return
    click.echo(_rendered(derive(found), form, who), nl=False)


@cli.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@_JSON
def coverage(runs: tuple[Path, ...], as_json: bool) -> None:
    """Sum what runs with --coverage counted, name what only the later ones ran, and the lines that never ran."""
    from harness.checks.coverage import FILE
    from harness.formats import gcov

    try:
        found = [gcov.load((run / FILE).read_text()) for run in runs]
        total = gcov.merged([counts for counts, _, _ in found])
    except OSError as error:
        raise UsageError(f"no coverage: {error}", hint="run it with --coverage") from error
    except (ValueError, KeyError) as error:
        raise UsageError(f"these runs cannot be summed: {error}", hint="name runs of one driver") from error
    lost = [f"{run.name}/{guest}" for run, (_, guests, _) in zip(runs, found, strict=True) for guest in guests]
    if as_json:
        click.echo(gcov.dump(total, lost, found[0][2]))
        return
    rows = gcov.describe(total, lost, found[0][2]) + gcov.gained(found[0][0], total) + gcov.lines_never_run(total)
    click.echo(printable("\n".join(rows)))


@cli.command()
@click.argument("series")
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="also write an mbox that git am takes")
@_JSON
def fetch(series: str, out: Path | None, as_json: bool) -> None:
    """Fetch SERIES and show what it is: revision, patches, base, trailers, attestation."""
    from harness.formats.series_text import data, describe
    from harness.host.fetch import fetch as fetch_series
    from harness.host.fetch import write_mbox

    found = fetch_series(series)
    click.echo(data(found) if as_json else printable("\n".join(describe(found))))
    if out is not None:
        write_mbox(found, out)
        click.echo(f"written to {out}", err=as_json)


@cli.command()
@click.option("--kernel", metavar="SRC", required=True, help=SRC)
@click.option("--npu", default="npu4", show_default=True)
@click.option("--address-mode", default="sva", show_default=True)
@click.option("--profile", default="plain", show_default=True)
def shell(**options: Any) -> None:
    """Boot a kernel on the emulated NPU, load the driver, and give a shell on its console."""
    from harness.host.store import Store
    from harness.shell import boot_shell

    sys.exit(boot_shell(check(options, Job, "command line"), Store()))


@cli.command()
@click.option("--install", is_flag=True, help="install what is missing (as root)")
@click.option("--repair", is_flag=True, help="give back devices that a killed run had passed through to its guest")
@click.option("--tests", is_flag=True, help="also what the project's own tests need")
@click.option("--benchmarks", is_flag=True, help="also what the benchmarks compare with")
@click.option("--review", is_flag=True, help="also the static checkers that a review asks")
@_JSON
def doctor(install: bool, repair: bool, tests: bool, benchmarks: bool, review: bool, as_json: bool) -> None:
    """Say what this machine can do, and what is missing."""
    from harness.doctor import examine, give_back_all

    if repair:
        give_back_all()
    sys.exit(examine(install=install, tests=tests, benchmarks=benchmarks, review=review, as_json=as_json))


@cli.command()
@_JSON
def clean(as_json: bool) -> None:
    """Delete the cache: sources, trees, kernels, images, QEMU."""
    from harness.host.store import Store

    store = Store()
    freed = store.clean()
    told = json.dumps({"freed": freed, "cache": str(store.root)})
    click.echo(told if as_json else f"{freed / 1e9:.1f} GB freed in {store.root}")


@cli.command()
@click.argument("commits", metavar="[RANGE]", default="")
@click.option(
    "--count", metavar="N", type=click.IntRange(min=0), help="the last N commits; 0: only what is not committed"
)
@click.option("--plain-only", is_flag=True, help="without the debug kernel")
@click.option("--per-patch", is_flag=True, help="test every commit, and name the culprit")
@click.option("-k", "select", metavar="EXPR", default="", help="only tests that match, as in pytest")
@out_option("folder of the runs  [~/.local/state/xdna-harness/presubmit-<time>]")
@_JSON
def presubmit(commits: str, count: int | None, out: Path | None, as_json: bool, **options: Any) -> None:
    """In a kernel tree: what do my commits and uncommitted changes make worse? The quick suite, on the plain kernel
    first, then on the debug kernel. RANGE is A..B or A.. up to HEAD; without it, all since the upstream branch, or the
    nearest tag. The tree stays as it is."""
    from harness.host.store import Store
    from harness.host.worktree import Worktree
    from harness.model.judge import overall
    from harness.presubmit import Request, default_out, prepare, steps, summary
    from harness.run import Run

    stamp = datetime.now().strftime("%Y-%m-%d-%H%M%S")
    folder = (out or default_out(stamp)).resolve()
    tree, store = Worktree(Path.cwd()), Store()
    todo = prepare(tree, tree.span(commits, count), Request(folder, **options), store)
    click.echo(f"the runs are in {folder}", err=as_json)
    judgements, told = [], []
    with filling(folder):
        for report in steps(todo, folder, lambda job, where: Run(job, where, store).execute()):
            _write(report)
            if as_json:
                told.append(json.loads(_rendered(report, "json")))
            else:
                click.echo(printable("\n".join(summary(report))))
            judgements.append(report.judgement)
    if as_json:
        click.echo(json.dumps(told, indent=1))
    sys.exit(EXIT_CODES[overall(judgements)])


cli.add_command(cli_prove.prove)
cli.add_command(cli_prove.hunt)
cli.add_command(cli_review.review)
for verb in (*cli_compare.VERBS, *cli_hosts.VERBS, *cli_nightly.VERBS, *cli_self.VERBS):
    cli.add_command(verb)
cli_self.add_loudness(cli)


def main() -> None:
    """Entry point: errors become two lines and an exit code, our own bugs a traceback."""
    end_in_order()
    let_it_read()
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except HarnessError as error:
        for line in error.lines():
            say(line, style="red" if line == error.message else "")
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        say("interrupted; the same command with the same --out goes on where it stopped")
        sys.exit(INTERRUPTED)
    except Exception:
        traceback.print_exc()
        say("this is a bug of xdna-harness: please report it with the lines above")
        sys.exit(OUR_BUG)


if __name__ == "__main__":
    main()
