# SPDX-License-Identifier: GPL-2.0-only
"""What a run came to: everything a reporter needs, nothing it has to look up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from harness.model.again import anywhere, repro
from harness.model.blame import Culprit
from harness.model.changed import ChangedFile
from harness.model.judge import Change, Comparison, Judgement, Verdict
from harness.model.measures import Number
from harness.model.memory import Held
from harness.model.proof import OwnLines, doubts
from harness.model.rate import Rate
from harness.model.result import Outcome, Result

FAILED = (Outcome.FAIL, Outcome.LOST, Outcome.ERROR)

NOBODY_KNOWS = Rate(0, 0)


@dataclass(frozen=True)
class LaneReport:
    """One lane on one variant: what was built, what it answered, what of that was known, and the tests that passed
    although they are known to fail. ``consoles``: of its guests, by their number; none of an answer that was kept."""

    name: str
    kernel: str
    results: tuple[Result, ...]
    known: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mended: tuple[str, ...] = ()
    consoles: Mapping[int, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class PatchReport:
    """One patch of the series, as the prefix that ends with it came out.

    ``how`` it was built ("" when it was not), compiler warnings by text that the prefix before did not have, and the
    number of first answers by outcome.
    """

    number: int
    title: str
    how: str
    seconds: float
    new_warnings: tuple[str, ...]
    outcomes: Mapping[str, int]


@dataclass(frozen=True)
class Report:
    """The answer to a job.

    ``facts`` are lines about how the answer was got (series, sources, QEMU, accelerator, sandbox), in order.
    ``known`` maps a test id to the reasons that were hidden. ``culprits`` and ``patches`` are there when every patch
    was tested. ``coverage`` is a table, as lines, when the driver counted; ``own_lines`` are then the series' own, None
    if it adds no code. ``numbers`` are what tests measured. ``proofs`` are the tests that fail before a patch and pass
    after it, by its number. ``key`` is a hash of what was asked and built, ``message_id`` that of the series,
    ``command`` the words that ask the same anywhere. ``changed`` is what the series changes in the driver. ``memory``
    has, by lane, what each test held, in the order in which they ran. ``score`` is how many of the planted bugs the
    suite catches, ``false_alarms`` how often a driver was found worse than itself, 0 of 0 if nobody knows.
    """

    run: Path
    title: str
    judgement: Judgement
    lanes: Mapping[str, LaneReport]
    variant: str
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    trailers: tuple[str, ...] = ()
    culprits: tuple[Culprit, ...] = ()
    patches: tuple[PatchReport, ...] = ()
    coverage: tuple[str, ...] = ()
    own_lines: OwnLines | None = None
    numbers: tuple[Number, ...] = ()
    proofs: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    key: str = ""
    command: tuple[str, ...] = ()
    message_id: str = ""
    changed: tuple[ChangedFile, ...] = ()
    memory: Mapping[str, tuple[Held, ...]] = field(default_factory=dict)
    score: Rate = NOBODY_KNOWS
    false_alarms: Rate = NOBODY_KNOWS

    @property
    def link(self) -> str:
        """Where the series can be read; empty for one that no list carries."""
        if not self.message_id:
            return ""
        return f"https://lore.kernel.org/r/{quote(self.message_id, safe='@', errors='replace')}"

    @property
    def doubts(self) -> tuple[str, ...]:
        """What must be read with the verdict; nothing where no series was asked about."""
        if "base" not in self.lanes:
            return ()
        different = any(c.change is not Change.SAME for c in self.judgement.comparisons)
        return doubts(different, self.own_lines, bool(self.coverage))

    def again(self, test: str) -> str:
        """The line that asks this test again as it was asked here; on the lane where it failed."""
        lane = next((name for name in ("head", *self.lanes) if self._failed(name, test)), "head")
        return repro(self.run, test, lane)

    def anywhere(self, test: str) -> str:
        """The same for somebody who has not the run's folder."""
        return anywhere(self.command, test)

    def _failed(self, lane: str, test: str) -> bool:
        found = self.lanes[lane].results if lane in self.lanes else ()
        return any(result.id == test and result.outcome in FAILED for result in found)

    def failed(self, comparison: Comparison) -> bool:
        """Whether any answer of head, or without head of base, was no; whatever is made of it."""
        return any(result.outcome in FAILED for result in comparison.head or comparison.base)

    def culprit(self, test: str) -> str:
        """Who broke this test, in words; empty when nobody is named."""
        return "; ".join(str(culprit) for culprit in self.culprits if culprit.test == test)

    @property
    def verdict(self) -> Verdict:
        return self.judgement.verdict

    @property
    def known(self) -> dict[str, tuple[str, ...]]:
        merged: dict[str, tuple[str, ...]] = {}
        for lane in self.lanes.values():
            for test, reasons in lane.known.items():
                merged[test] = tuple(dict.fromkeys((*merged.get(test, ()), *reasons)))
        return merged

    @property
    def mended(self) -> list[str]:
        """Tests that are on the list of known failures and passed."""
        return sorted({test for lane in self.lanes.values() for test in lane.mended})

    @property
    def disarmed(self) -> dict[tuple[str, str], list[str]]:
        """By lane and detector, the tests that ran while it was off: what it would have said nobody knows."""
        found: dict[tuple[str, str], list[str]] = {}
        for lane in self.lanes.values():
            for result in lane.results:
                for detector in result.disarmed:
                    found.setdefault((lane.name, detector), []).append(result.id)
        return {key: sorted(set(tests)) for key, tests in found.items()}

    def ids(self, change: Change) -> list[str]:
        """Ids of the tests and stages that changed in this way, sorted."""
        return sorted(self.judgement.ids(change))
