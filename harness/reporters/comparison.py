# SPDX-License-Identifier: GPL-2.0-only
"""Where two NPUs differ, for a person and for a program."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from harness.log import printable
from harness.model.told import Comparison, Difference


def text(found: Comparison) -> str:
    """The differences by test; what a side does not repeat itself comes behind them, what nobody knows last."""
    sure = [difference for difference in found.differences if not difference.unsteady]
    first, second = found.names
    rows = [f"{first} and {second}: {found.asked} tests answered by both, {len({d.test for d in sure})} differ"]
    rows += [f"not asked the same, {what}" for what in found.unlike]
    rows += [f"no messages of {why}" for why in found.deaf]
    rows += [f"{who}: what it does not repeat is not known" for who in found.once]
    rows += _rows(sure)
    unsteady = [difference for difference in found.differences if difference.unsteady]
    if unsteady:
        rows += ["", "one of them does not repeat itself in these:", *_rows(unsteady)]
    for name in dict.fromkeys(found.names):
        missing = [f"    {one.test}: {one.why}" for one in found.unanswered if one.target == name]
        rows += ["", f"could not be asked of {name}:", *missing] if missing else []
    lacks = Counter((one.target, one.why) for one in found.skipped)
    rows += ["", *(f"{target} skips {count} tests: {why}" for (target, why), count in lacks.items())] if lacks else []
    return printable("\n".join(rows)) + "\n"


def _rows(found: Sequence[Difference]) -> list[str]:
    rows: list[str] = []
    for number, difference in enumerate(found):
        if not number or found[number - 1].test != difference.test:
            rows.append(difference.test)
        rows.append(f"    {difference.aspect}: {difference.first} | {difference.second}")
    return rows


def data(found: Comparison) -> str:
    """The same as JSON."""
    told = asdict(found)
    return json.dumps({"targets": told.pop("names"), **told}, indent=1) + "\n"
