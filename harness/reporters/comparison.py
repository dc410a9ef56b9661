# SPDX-License-Identifier: GPL-2.0-only
"""Where two NPUs differ, for a person and for a program."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from harness.log import printable
from harness.model.told import Difference


def text(names: tuple[str, str], asked: int, found: Sequence[Difference], deaf: Iterable[str]) -> str:
    """The differences by test; what a side does not repeat itself comes last."""
    sure = [difference for difference in found if not difference.unsteady]
    rows = [f"{names[0]} and {names[1]}: {asked} tests asked of both, {len({d.test for d in sure})} differ"]
    rows += [f"no messages of {why}" for why in deaf]
    rows += _rows(sure)
    unsteady = [difference for difference in found if difference.unsteady]
    if unsteady:
        rows += ["", "one of them does not repeat itself in these:", *_rows(unsteady)]
    return printable("\n".join(rows)) + "\n"


def _rows(found: Sequence[Difference]) -> list[str]:
    rows: list[str] = []
    for number, difference in enumerate(found):
        if not number or found[number - 1].test != difference.test:
            rows.append(difference.test)
        rows.append(f"    {difference.aspect}: {difference.first} | {difference.second}")
    return rows


def data(names: tuple[str, str], asked: int, found: Sequence[Difference], deaf: Iterable[str]) -> str:
    """The same as JSON."""
    told = {"targets": names, "asked": asked, "deaf": list(deaf), "differences": [asdict(one) for one in found]}
    return json.dumps(told, indent=1) + "\n"
