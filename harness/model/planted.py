# SPDX-License-Identifier: GPL-2.0-only
"""Planted bugs: edits that break the driver on purpose, to see whether the suite notices. Pure.

A bug is caught when a test is worse with it by the judge's own rules, and was worse each time it was asked, at least
:data:`RUNS` times. One that stops the driver's probe or the first heap test is trivial: it counts for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from harness.model.edit import Edits
from harness.model.judge import ATTEMPTS, Change, LaneResults, judge, suspects, worse
from harness.model.result import Outcome

RUNS = 3
FIRST = "test_expansion.py::test_e01_first_chunk"
"""The first heap test."""
SHARE = 0.9
"""How much of what counts must be caught."""


class BugKind(StrEnum):
    """What a planted edit does wrong; ``neutral`` ones do nothing wrong, and must not be noticed."""

    LOST_PUT = "lost-put"
    EXTRA_PUT = "extra-put"
    ROLLBACK = "rollback"
    CHUNK = "chunk"
    BORDER = "border"
    SIZE_CAP = "size-cap"
    ERRNO = "errno"
    LOCK = "lock"
    RUNTIME_PM = "runtime-pm"
    CLOSE_ORDER = "close-order"
    STATUS = "status"
    MESSAGE = "message"
    OVERFLOW = "overflow"
    UNINITIALISED = "uninitialised"
    USE_AFTER_FREE = "use-after-free"
    RACE = "race"
    NEUTRAL = "neutral"


@dataclass(frozen=True)
class Planted:
    """One bug. ``series``: in code that the expandable heap's series adds. ``survives``: why no test can see it from
    outside the kernel; empty if one should."""

    kind: BugKind
    edits: Edits
    series: bool = False
    survives: str = ""

    @property
    def id(self) -> str:
        return self.edits.name

    @property
    def title(self) -> str:
        return self.edits.title


class Fate(StrEnum):
    """What became of a planted bug. UNKNOWN: the lab failed, or nobody was asked."""

    CAUGHT = "caught"
    SURVIVED = "survived"
    TRIVIAL = "trivial"
    NOT_BUILT = "does-not-build"
    UNKNOWN = "unknown"


def _of(results: LaneResults, tests: Mapping[str, object]) -> LaneResults:
    """The answers about these tests; nothing else is asked, so nothing is missing."""
    return LaneResults(tuple(r for r in results.results if r.id in tests), broken=results.broken)


def noticed(base: LaneResults, head: LaneResults) -> list[str]:
    """The tests whose first answer is worse with the bug than each answer without it, in the order in which they were
    asked."""
    asked, old = head.by_id(), base.by_id()
    worse_ones = set(suspects(_of(base, asked), head))
    answers = {test: [r for r in old[test] if r.outcome is not Outcome.ERROR] for test in worse_ones}
    return [t for t in asked if t in worse_ones and all(worse(answer, asked[t][0]) for answer in answers[t])]


def missing(test: str, base: LaneResults, head: LaneResults) -> dict[str, list[int]]:
    """By lane the attempts that are still to be made before it is known whether this test has caught the bug: first of
    head, then, if these were all worse, of base. None is left when it is known."""
    old, new = base.by_id().get(test, []), head.by_id().get(test, [])
    if not old or not all(worse(old[0], result) for result in new):
        return {}
    if len(new) < RUNS:
        return {"head": list(range(len(new) + 1, RUNS + 1))}
    return {"base": list(range(len(old) + 1, ATTEMPTS + 1))} if len(old) < ATTEMPTS else {}


def confirmed(test: str, base: LaneResults, head: LaneResults) -> str:
    """Why this test has caught the bug; empty if it has not."""
    old, new = base.by_id().get(test, []), head.by_id().get(test, [])
    if len(new) < RUNS or not old or not all(worse(old[0], result) for result in new):
        return ""
    found = judge(_of(base, {test: None}), _of(head, {test: None})).comparisons
    return "".join(c.reason for c in found if c.id == test and c.change is Change.REGRESSED)


def fate_of(test: str, head: LaneResults) -> Fate:
    """What it means that this test has caught the bug. A first heap test that says yes, and in which only the kernel's
    messages or a leak speak, is not stopped."""
    said_no = any(not result.only_findings for result in head.results if result.id == test)
    return Fate.TRIVIAL if test == FIRST and said_no else Fate.CAUGHT


def stopped(head: LaneResults) -> tuple[Fate, str] | None:
    """What a stage that failed says of the bug."""
    for result in head.results:
        if result.is_stage and result.outcome not in (Outcome.PASS, Outcome.SKIP):
            said = (result.evidence.splitlines() or [""])[0]
            fate = Fate.UNKNOWN if result.outcome is Outcome.ERROR else Fate.TRIVIAL
            return fate, f"{result.id} {result.outcome}: {said}"
    return None


@dataclass(frozen=True)
class Proof:
    """What became of one bug. ``edit``: a hash of the edit, the driver and what it was asked; ``by`` the test that
    caught it; ``asked``: how many tests were asked, ``likely``: how many of the suite's run the edited lines;
    ``seconds``: all of it, ``built`` of these for the driver."""

    id: str
    title: str
    kind: BugKind
    series: bool
    survives: str
    edit: str
    fate: Fate
    by: str = ""
    reason: str = ""
    asked: int = 0
    likely: int = 0
    seconds: float = 0.0
    built: float = 0.0

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Proof:
        """What :meth:`record` wrote. Raises TypeError and ValueError."""
        return cls(**{**record, "kind": BugKind(record["kind"]), "fate": Fate(record["fate"])})

    def record(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def neutral(self) -> bool:
        return self.kind is BugKind.NEUTRAL

    @property
    def counts(self) -> bool:
        return not self.neutral and self.fate is not Fate.TRIVIAL


@dataclass(frozen=True)
class Score:
    """What became of all bugs. ``where`` they were planted, in words."""

    proofs: tuple[Proof, ...]
    where: str = ""

    def of(self, fate: Fate) -> list[Proof]:
        """The bugs, neutral ones left out, with this fate."""
        return [proof for proof in self.proofs if proof.fate is fate and not proof.neutral]

    @property
    def planted(self) -> int:
        return sum(not proof.neutral for proof in self.proofs)

    @property
    def counted(self) -> int:
        return sum(proof.counts for proof in self.proofs)

    @property
    def caught(self) -> int:
        return len(self.of(Fate.CAUGHT))

    @property
    def neutral(self) -> list[Proof]:
        return [proof for proof in self.proofs if proof.neutral]

    @property
    def false_alarms(self) -> list[Proof]:
        """Edits that change nothing, and did not survive: an error of ours, or of the edit's author."""
        return [proof for proof in self.neutral if proof.fate not in (Fate.SURVIVED, Fate.UNKNOWN)]

    @property
    def unknown(self) -> list[Proof]:
        return [proof for proof in self.proofs if proof.fate is Fate.UNKNOWN]

    @property
    def exit_code(self) -> int:
        """0: enough is caught and no false alarm; 3: what is unknown decides; else 1."""
        open_ones = len(self.of(Fate.UNKNOWN))
        if self.false_alarms or self.caught + open_ones < SHARE * self.counted:
            return 1
        sure = self.caught >= SHARE * self.counted and not any(p.neutral for p in self.unknown)
        return 0 if sure else 3

    def __str__(self) -> str:
        return f"{self.caught} of {self.counted} caught{percent(self.caught, self.counted)}"


def percent(part: int, whole: int) -> str:
    """`` (94 %)``, rounded down, so that only all of them is 100; empty without a whole."""
    return f" ({100 * part // whole} %)" if whole else ""


def median(numbers: Sequence[float]) -> float:
    """The middle one, of an even number the upper of both; 0 for none."""
    return sorted(numbers)[len(numbers) // 2] if numbers else 0.0
