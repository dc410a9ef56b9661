# SPDX-License-Identifier: GPL-2.0-only
"""What a static check is, and how one is asked: is it there, has it been asked before, what does it say.

A check that is not installed, or that fails, has not been asked. That is an answer of its own, and never a clean one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from harness.errors import HarnessError
from harness.host import needs, toolchain
from harness.host.bench import Bench, Said
from harness.host.store import key_of
from harness.model.complaint import Answer, Complaint

DRIVER = "drivers/accel/amdxdna"
RECIPE = 4
"""Count up when complaints are read or asked for in another way: it is part of each kept answer's key."""


class Check(Protocol):
    """One static check. ``programs`` must all be there."""

    @property
    def name(self) -> str: ...

    @property
    def programs(self) -> tuple[str, ...]: ...

    def ask(self, bench: Bench) -> Answer:
        """All complaints about the tree, and those about its last patch alone. HarnessError: it could not be asked."""


def ask(check: Check, bench: Bench) -> Answer:
    """The check's answer, kept from an earlier time if nothing has changed that it depends on."""
    if why := lacking(check):
        return Answer(not_asked=why)
    try:
        key = key_of(recipe=RECIPE, check=check.name, tools=version(check), bench=bench.key)
        entry = bench.store.get("checks", key, lambda folder: _write(folder, check.ask(bench)))
        return _read(entry)
    except HarnessError as error:
        return Answer(not_asked="; ".join(error.lines()))


def lacking(check: Check) -> str:
    """Which programs are missing and what brings them; empty when all are there."""
    gone = [program for program in check.programs if not toolchain.has(program)]
    if not gone:
        return ""
    packages = needs.packages_of(gone)
    how = needs.command_line(packages) if len(packages) == len(gone) else "Debian has no package of it here"
    return f"{', '.join(gone)} is not installed ({how})"


def version(check: Check) -> str:
    """The first line that each program prints about itself; empty for what the kernel's source brings."""
    return "; ".join(toolchain.words_of(program) for program in check.programs)


def failed(said: Said, what: str) -> str:
    """Why a command that ended badly says nothing."""
    last = said.text.strip().splitlines()[-1:] or ["no output"]
    return f"{what} ended with {said.status}: {last[0][:200]}"


def stopped(found: Iterable[Complaint]) -> tuple[str, ...]:
    """Files in which a compiler gave up, so that nobody knows what it would have said of the rest."""
    return tuple(dict.fromkeys(f"{c.file}: nothing is known behind a fatal error" for c in found if "fatal " in c.text))


def _write(folder: Path, answer: Answer) -> None:
    """An answer that is none is not kept: the next run asks again."""
    if answer.not_asked:
        raise HarnessError(answer.not_asked)
    (folder / "answer.json").write_text(json.dumps(asdict(answer)))


def _read(entry: Path) -> Answer:
    data = json.loads((entry / "answer.json").read_text())
    complaints, own = (tuple(Complaint(**c) for c in data[name]) for name in ("complaints", "own"))
    return Answer(complaints, own, gaps=tuple(data["gaps"]))
