# SPDX-License-Identifier: GPL-2.0-only
"""The verb that holds one NPU against another: the emulation against silicon, by whoever has it."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli_out import filling, out_option
from harness.cli_prove import SRC
from harness.model.variant import AddressMode

if TYPE_CHECKING:
    from harness.job import Job


@click.command("compare-npu")
@click.argument("first", metavar="TARGET-A")
@click.argument("second", metavar="TARGET-B")
@click.option("--kernel", metavar="SRC", default="", help=f"asked on both: {SRC}")
@click.option(
    "--npu", type=click.Choice(["npu1", "npu4", "npu5", "npu6"]), help="generation of both  [npu4, or the run's]"
)
@click.option("--address-mode", type=click.Choice([m.value for m in AddressMode]), help="of both")
@click.option(
    "--boot",
    type=click.Choice(["auto", "kexec", "grub", "systemd-boot", "never"]),
    help="on ssh:HOST: the way into the kernel, or never: it runs there already  [auto]",
)
@click.option("-k", "select", metavar="EXPR", help="only tests that match, as in pytest")
@click.option("--quick", is_flag=True, default=None, help="only the tests of the quick set")
@click.option("--times", type=click.IntRange(1, 20), default=2, show_default=True, help="so often is each asked")
@out_option("folder of the runs  [runs/compare-<time>]")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of text")
def compare_npu(
    first: str, second: str, kernel: str, times: int, out: Path | None, as_json: bool, **options: Any
) -> None:
    """Ask two NPUs the same suite with the same driver, and list where they differ: how each test ended, what the
    system calls answered, and which messages went to firmware and back, in which order, as the driver's trace points
    have it (these do not say what is in a message: a status shows in what the call that sent it answered).

    TARGET is emulated, emulated:NPU, ssh:HOST, passthrough:PCI-ADDRESS, or the folder of a run that was traced: one of
    these runs from a machine with an NPU is all that is needed from there. What is not given here is as in that run
    (generation, address mode, suite, selection), or beside a passed-through NPU carveout; in what two are not asked the
    same all the same is said.

    A test that one of them has not answered a single time (its machine went away) is no difference; it is listed apart.
    So is, by number, what one of them skips since it lacks what the test needs.

    Exit status: 0 they answer alike, 1 they differ, 3 they do not, but one of them could not be asked all, or nothing.
    """
    from harness.compare import ask, compared, sides, unlike
    from harness.host.store import Store
    from harness.reporters import comparison, write
    from harness.run import Run

    given = {key: value for key, value in {"kernel": kernel, **options}.items() if value}
    both = sides((first, second), given)
    folder = out or Path("runs") / f"compare-{datetime.now():%Y-%m-%d-%H%M%S}"
    store = Store()

    def run(job: Job, where: Path) -> None:
        write(Run(job, where, store).execute())

    with filling(folder):
        found = compared(ask(both, times, folder, run), (first, second), unlike(both))
    render = comparison.data if as_json else comparison.text
    click.echo(render(found), nl=False)
    sys.exit(found.status)


VERBS = (compare_npu,)
