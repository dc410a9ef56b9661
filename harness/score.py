# SPDX-License-Identifier: GPL-2.0-only
"""How far a verdict can be trusted, which every run's report quotes: the last complete score of the planted bugs, and
how often a driver was found worse than itself.

score.json     in the cache
itself.json    the tally of runs of a driver against itself, by the suite as it is
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import asdict, dataclass, replace
from datetime import date

from harness.answers import suite_key
from harness.host.recorder import RunRecords
from harness.host.store import Store
from harness.model.judge import Verdict
from harness.model.planted import Fate, Score
from harness.model.rate import Rate

FILE, ITSELF = "score.json", "itself.json"
NONE = "no score yet: xdna-harness prove"
AS_IT_WAS = ", by the suite as it was then"
NEVER = "never asked: xdna-harness prove --against-itself 100"


def keep(store: Store, score: Score, version: str) -> None:
    """Keep a score of today, for the kernel of this version and the suite as it is."""
    kept: dict[str, object] = {
        "caught": score.caught,
        "counted": score.counted,
        "false_alarms": len(score.false_alarms),
    }
    kept |= {"date": date.today().isoformat(), "kernel": version, "where": score.where, "suite": suite_key()}
    kept["caught_by"] = Counter(proof.by for proof in score.of(Fate.CAUGHT))
    _write(store, FILE, kept)


def _write(store: Store, name: str, data: dict[str, object]) -> None:
    partial = store.root / f".{name}.{os.getpid()}"
    partial.write_text(json.dumps(data, indent=1))
    partial.replace(store.root / name)


def tell(store: Store, records: RunRecords) -> None:
    """Quote all that is kept in a run's records."""
    alarms = FalseAlarms.load(store)
    records.fact("planted bugs", quote(store))
    records.fact("false alarms", str(alarms))
    records.add({"event": "score", **figures(store), "bad": alarms.bad, "runs": alarms.runs})


def catchers(store: Store) -> Counter[str]:
    """How many bugs each test caught then."""
    try:
        return Counter({str(k): int(v) for k, v in json.loads((store.root / FILE).read_text())["caught_by"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Counter()


def quote(store: Store) -> str:
    """The score in one line, with its date and kernel; a word on how to get one if there is none."""
    try:
        kept = json.loads((store.root / FILE).read_text())
        caught, counted = int(kept["caught"]), int(kept["counted"])
        said = f"caught {Rate(caught, counted)}, {kept['date']}, Linux {kept['kernel']}"
        alarms = f", {kept['false_alarms']} false alarm(s)" if kept["false_alarms"] else ""
        return said + alarms + ("" if kept["suite"] == suite_key() else AS_IT_WAS)
    except (OSError, ValueError, KeyError, TypeError):
        return NONE


def figures(store: Store) -> dict[str, int]:
    """``caught`` of ``counted`` bugs, of the last complete score; 0 of 0 without one."""
    try:
        kept = json.loads((store.root / FILE).read_text())
        return {name: int(kept[name]) for name in ("caught", "counted")}
    except (OSError, ValueError, KeyError, TypeError):
        return {"caught": 0, "counted": 0}


@dataclass(frozen=True)
class FalseAlarms:
    """Of ``runs`` of a driver against itself ``bad`` found it worse, and ``unknown`` came to no verdict; the last on
    ``day``. ``suite``: :func:`suite_key` of them all."""

    suite: str = ""
    runs: int = 0
    bad: int = 0
    unknown: int = 0
    variant: str = ""
    day: str = ""

    @classmethod
    def load(cls, store: Store) -> FalseAlarms:
        """The tally so far, maybe by another suite; an empty one if there is none."""
        try:
            return cls(**json.loads((store.root / ITSELF).read_text()))
        except (OSError, ValueError, TypeError):
            return cls(suite_key())

    def plus(self, verdict: Verdict, variant: str) -> FalseAlarms:
        """The tally with one more run; runs by another suite or on another variant begin a new one."""
        same = self.suite == suite_key() and self.variant in ("", variant)
        before = self if same else FalseAlarms(suite_key())
        return replace(
            before,
            runs=before.runs + 1,
            bad=before.bad + (verdict is Verdict.BAD),
            unknown=before.unknown + (verdict is Verdict.UNKNOWN),
            variant=variant,
            day=date.today().isoformat(),
        )

    def keep(self, store: Store) -> None:
        _write(store, ITSELF, asdict(self))

    def __str__(self) -> str:
        if not self.runs:
            return NEVER
        more = f", {self.unknown} without a verdict" if self.unknown else ""
        then = "" if self.suite == suite_key() else AS_IT_WAS
        return f"{Rate(self.bad, self.runs)} runs of a driver against itself{more}, {self.variant}, {self.day}{then}"
