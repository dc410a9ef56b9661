# SPDX-License-Identifier: GPL-2.0-only
"""The last complete score of the planted bugs, which every run's report quotes.

score.json    in the cache
"""

from __future__ import annotations

import json
import os
from datetime import date

from harness.answers import suite_key
from harness.host.store import Store
from harness.model.planted import Score, percent

FILE = "score.json"
NONE = "no score yet: xdna-harness prove"


def keep(store: Store, score: Score, version: str) -> None:
    """Keep a score of today, for the kernel of this version and the suite as it is."""
    kept: dict[str, object] = {
        "caught": score.caught,
        "counted": score.counted,
        "false_alarms": len(score.false_alarms),
    }
    kept |= {"date": date.today().isoformat(), "kernel": version, "where": score.where, "suite": suite_key()}
    partial = store.root / f".{FILE}.{os.getpid()}"
    partial.write_text(json.dumps(kept, indent=1))
    partial.replace(store.root / FILE)


def quote(store: Store) -> str:
    """The score in one line, with its date and kernel; a word on how to get one if there is none."""
    try:
        kept = json.loads((store.root / FILE).read_text())
        caught, counted = int(kept["caught"]), int(kept["counted"])
        said = f"{caught} of {counted} caught{percent(caught, counted)}, {kept['date']}, Linux {kept['kernel']}"
        alarms = f", {kept['false_alarms']} false alarm(s)" if kept["false_alarms"] else ""
        return said + alarms + ("" if kept["suite"] == suite_key() else ", by the suite as it was then")
    except (OSError, ValueError, KeyError, TypeError):
        return NONE
