# SPDX-License-Identifier: GPL-2.0-only
"""What this machine can do, and what is missing."""

from __future__ import annotations

import json

import click

from harness.errors import HarnessError
from harness.host import needs
from harness.host.accel import measure
from harness.host.loan import Loans
from harness.host.qemu import find_qemu
from harness.host.sandbox import Sandbox
from harness.host.store import Store
from harness.log import step

GOOD, MISSING = 0, 3
MIN_FREE_GB = 12
"""A source with its trees, a plain and a debug build folder, images and QEMU."""


def give_back_all() -> None:
    """Give back every device that a run lent to a guest and, killed, did not give back. InfraError: one does not go."""
    loans = Loans()
    for loan in loans.left():
        with step(f"giving {loan.address} back to {loan.driver or 'no driver'}, lent by {loan.holder}"):
            loans.give_back(loan)


def examine(install: bool, tests: bool, benchmarks: bool = False, review: bool = False, as_json: bool = False) -> int:
    """Print one line per thing, or a JSON list of them (name, ok, text); 0 when a run can begin. With ``install``,
    first install what is missing.

    Raises UsageError with one line to copy when it is missing and we may not install it.
    """
    tell = _Teller(as_json)
    store = Store()
    store.root.mkdir(parents=True, exist_ok=True)
    asked = {needs.Purpose.TEST: tests, needs.Purpose.BENCHMARK: benchmarks, needs.Purpose.REVIEW: review}
    purposes = [needs.Purpose.BUILD, needs.Purpose.RUN, *(purpose for purpose, wanted in asked.items() if wanted)]
    if install:
        needs.ensure(*purposes, log=store.root / "install.log")
    lacking = needs.missing(*purposes)
    tell("packages", needs.command_line(lacking) if lacking else "all there", bad=bool(lacking))
    _sandbox(tell)
    free = store.free_bytes() / 1e9
    tell("disk", f"{free:.0f} GB free for the cache in {store.root}", bad=free < MIN_FREE_GB)
    _passthrough(Loans(), tell)
    emulator_works = not lacking and _emulator(store, tell)
    tell.end()
    return GOOD if emulator_works and not lacking else MISSING


def _sandbox(tell: _Teller) -> None:
    try:
        sandbox = Sandbox.detect()
    except HarnessError as error:  # a machine too busy to tell
        tell("sandbox", error.message, bad=True)
        return
    said = f"make runs in {sandbox.kind}" if sandbox.isolated else sandbox.reason
    tell("sandbox", said, bad=not sandbox.isolated)


def _passthrough(loans: Loans, tell: _Teller) -> None:
    """Name the devices that somebody has to give back. The journals are those of one user."""
    for loan in loans.left():
        what = f"{loan.address} was not given back by {loan.holder}: xdna-harness doctor --repair"
        tell("passthrough", what, bad=True)
    for npu in loans.strays():
        tell(
            "passthrough",
            f"{npu.address}, an {npu.npu}, has {npu.driver}, and no loan of this user ({loans.folder}) says why: if no "
            "run has it now, 'xdna-harness doctor --repair' as the user who ran it (root: sudo)",
            bad=True,
        )


def _emulator(store: Store, tell: _Teller) -> bool:
    """Look at QEMU, fetching it if need be, and measure the accelerators."""
    try:
        emulator = find_qemu(store)
        tell("qemu", f"{emulator.version}, {emulator.origin}")
        tell("accelerator", measure(emulator, store).reason)
    except HarnessError as error:
        tell("qemu", " ".join(error.lines()), bad=True)
        return False
    return True


class _Teller:
    """Text is told at once, JSON at the end."""

    def __init__(self, as_json: bool) -> None:
        self._rows: list[dict[str, object]] | None = [] if as_json else None

    def __call__(self, name: str, text: str, bad: bool = False) -> None:
        if self._rows is None:
            click.echo(f"{'!!' if bad else 'ok'} {name}: {text}")
        else:
            self._rows.append({"name": name, "ok": not bad, "text": text})

    def end(self) -> None:
        if self._rows is not None:
            click.echo(json.dumps(self._rows, indent=1))
