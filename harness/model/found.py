# SPDX-License-Identifier: GPL-2.0-only
"""What one walk showed: what of it is news, and what a finding is after it was asked again. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.model.finding import Kind
from harness.model.known import KnownFailure, hide
from harness.model.result import Outcome, Result
from harness.model.script import Script

_BROKEN = re.compile(r"\bbroken ([a-z]+): ")
_AT = re.compile(r'walk: step \d+: \{"do": "(\w+)"')


@dataclass(frozen=True)
class Answer:
    """How a walk ended. ``news``: keys of what nobody knows yet: fingerprints, "broken NAME" for an invariant, "LOST
    STEP" for a guest that was lost in that step without a word. ``known``: reasons. ``trouble``: why it is no answer
    at all. ``folder`` holds the guest's records, if it showed anything new."""

    news: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    result: Result | None = None
    trouble: str = ""
    folder: Path | None = None


def answer(result: Result, valid: Sequence[KnownFailure], folder: Path, console: str = "") -> Answer:
    """Judge what the walk said. ``valid``: the known failures that hold there; ``console``: of a guest that is lost."""
    if result.outcome in (Outcome.ERROR, Outcome.SKIP):
        return Answer(result=result, trouble=result.evidence or "nothing was asked", folder=folder)
    hidden = hide(result, valid)
    left = hidden.result
    news = [finding.fingerprint for finding in left.findings]
    if left.outcome is Outcome.FAIL and not left.only_findings:
        # It ended where it stood: what is left then is its own.
        news = [_invariant(result.evidence), *(f.fingerprint for f in left.findings if f.kind is not Kind.LEAK)]
    elif left.outcome is Outcome.LOST and not news and not hidden.known:
        steps = _AT.findall(console)
        news.append(f"LOST {steps[-1] if steps else 'before the first step'}")
    return Answer(tuple(dict.fromkeys(news)), hidden.known, result, folder=folder)


def _invariant(evidence: str) -> str:
    """The name of the invariant that is broken; for any other failure the kind of the error."""
    head = evidence.partition("\n")[0]
    if "not finished after" in head:
        return "broken time"
    found = _BROKEN.search(head)
    return f"broken {found[1]}" if found else f"failed {head.partition(':')[0].split('.')[-1][:60]}"


@dataclass(frozen=True)
class Found:
    """Something new. ``hits`` of ``tries`` guests that did ``script`` in the end showed it, the last with ``answer``.

    ``seed`` is that of the walk that met it (no seed: somebody's script), in so many ``steps`` of it; ``guests`` were
    needed to shrink it, ``whole``: until nothing more could be left out. ``lost``: what it was shrunk to did not show
    it again, so that ``script`` is what met it.
    """

    key: str
    script: Script
    seed: int | None
    steps: int
    hits: int
    tries: int
    guests: int
    whole: bool
    answer: Answer
    lost: bool = False

    @property
    def evidence(self) -> str:
        """What the test and the kernel said."""
        return self.answer.result.evidence if self.answer.result else ""

    @property
    def title(self) -> str:
        """One line."""
        for finding in self.answer.result.findings if self.answer.result else ():
            if finding.fingerprint == self.key:
                return finding.title
        head = self.evidence.partition("\n")[0]
        return head.rpartition("broken ")[2] if self.key.startswith("broken ") else head or self.key


def readme(found: Found, where: str, command: str) -> str:
    """What somebody needs who was not there. ``where``: kernel and variant."""
    rate = f"{found.hits} of {found.tries} fresh guests that did this script showed it"
    whole = "" if found.whole else " (not to the end: the guests for it ran out)"
    if found.lost:
        whole = " (in vain: what was left of it did not show it again)"
    if not found.hits:
        rate = f"seen once; {found.tries} fresh guests that did the same script did not show it"
        rate = rate if found.tries else "seen once, on the way to something else; nobody was asked again"
        whole = ""
    met = f"met by {found.steps} steps of the walk of seed {found.seed}; {found.guests} guests were needed to shrink it"
    steps = "".join(f"    {step.line}\n" for step in found.script) or "    (none: it comes without any)\n"
    lines = [f"# {found.key}", "", found.title, "", f"- {where}", f"- {rate}"]
    lines += [f"- {met}{whole}"] if found.seed is not None else []
    lines += ["", "Again:", "", f"    {command}", ""]
    lines += ["The script (harness/guest/hunt/steps.py says what each step does):", "", steps]
    return "\n".join(lines)


@dataclass
class Tally:
    """What walks reached: ``reached`` counts each kind of step by how it ended ("bo EAGAIN")."""

    walks: int = 0
    steps: int = 0
    troubles: int = 0
    reached: dict[str, int] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)

    def add(self, one: Answer, steps: int) -> None:
        """Count one walk."""
        if one.trouble or one.result is None:
            self.troubles += 1
            return
        self.walks += 1
        self.steps += steps
        for name, measured in one.result.measures.items():
            self.reached[name] = self.reached.get(name, 0) + int(measured.value)
        for reason in one.known:
            self.known[reason] = self.known.get(reason, 0) + 1

    def known_by_count(self) -> list[tuple[int, str]]:
        """In how many walks what is known was met; the most frequent first."""
        return sorted(((count, reason) for reason, count in self.known.items()), reverse=True)

    def table(self) -> list[str]:
        """A line for each kind of step: how it ended, how often."""
        return [f"{do}: {', '.join(ends)}" for do, ends in sorted(_by_step(self.reached).items())]


def _by_step(reached: Mapping[str, int]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, count in sorted(reached.items(), key=lambda item: -item[1]):
        do, _, end = name.partition(" ")
        found.setdefault(do, []).append(f"{end} {count}")
    return found
