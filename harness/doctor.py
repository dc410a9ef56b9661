# SPDX-License-Identifier: GPL-2.0-only
"""What this machine can do, and what is missing."""

from __future__ import annotations

import click

from harness.errors import HarnessError
from harness.host import needs
from harness.host.accel import measure
from harness.host.qemu import find_qemu
from harness.host.sandbox import Sandbox
from harness.host.store import Store

GOOD, MISSING = 0, 3
MIN_FREE_GB = 12
"""A source with its trees, a plain and a debug build folder, images and QEMU."""


def examine(install: bool, tests: bool, benchmarks: bool = False, review: bool = False) -> int:
    """Print one line per thing; 0 when a run can begin. With ``install``, first install what is missing.

    Raises UsageError with one line to copy when it is missing and we may not install it.
    """
    store = Store()
    store.root.mkdir(parents=True, exist_ok=True)
    asked = {needs.Purpose.TEST: tests, needs.Purpose.BENCHMARK: benchmarks, needs.Purpose.REVIEW: review}
    purposes = [needs.Purpose.BUILD, needs.Purpose.RUN, *(purpose for purpose, wanted in asked.items() if wanted)]
    if install:
        needs.ensure(*purposes, log=store.root / "install.log")
    lacking = needs.missing(*purposes)
    _line("packages", needs.command_line(lacking) if lacking else "all there", bad=bool(lacking))
    sandbox = Sandbox.detect()
    _line(
        "sandbox",
        f"make runs in {sandbox.kind}" if sandbox.isolated else sandbox.reason,
        bad=not sandbox.isolated,
    )
    free = store.free_bytes() / 1e9
    _line("disk", f"{free:.0f} GB free for the cache in {store.root}", bad=free < MIN_FREE_GB)
    emulator_works = not lacking and _emulator(store)
    return GOOD if emulator_works and not lacking else MISSING


def _emulator(store: Store) -> bool:
    """Look at QEMU, fetching it if need be, and measure the accelerators."""
    try:
        emulator = find_qemu(store)
        _line("qemu", f"{emulator.version}, {emulator.origin}")
        _line("accelerator", measure(emulator, store).reason)
    except HarnessError as error:
        _line("qemu", " ".join(error.lines()), bad=True)
        return False
    return True


def _line(name: str, text: str, bad: bool = False) -> None:
    click.echo(f"{'!!' if bad else 'ok'} {name}: {text}")
