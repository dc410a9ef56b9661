# SPDX-License-Identifier: GPL-2.0-only
"""What got worse, and what was not answered: who did it, what the kernel said, and the command that repeats it."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from harness.model.finding import Finding
from harness.model.judge import Change, Comparison, Verdict
from harness.model.report import Report
from harness.model.result import Outcome, Result
from harness.reporters.page.document import Section
from harness.reporters.page.pictures.grid import mark_class
from harness.reporters.text import NOISE, SAID_LINES, excerpt

SPLATS = 4
SPLAT_LINES = 48


@dataclass(frozen=True)
class Answer:
    """What a lane said to one test, all attempts: "FAIL 3 of 5"."""

    lane: str
    text: str
    tone: str


@dataclass(frozen=True)
class Splat:
    """A finding's lines without registers and the like, each with the place in the source behind it, if known."""

    kind: str
    title: str
    lines: tuple[tuple[str, str], ...]
    left: int


@dataclass(frozen=True)
class Card:
    """One test or stage that a person has to look at. ``whole`` is all that was said; empty if the rest says it."""

    id: str
    change: str
    reason: str
    culprit: str
    answers: tuple[Answer, ...]
    said: str
    splats: tuple[Splat, ...]
    whole: str
    again: str
    anywhere: str


def worse(report: Report) -> Section | None:
    cards = [*_cards(report, Change.REGRESSED), *_cards(report, Change.SUSPECT)]
    between = [(culprit.test, str(culprit)) for culprit in report.culprits if not culprit.still]
    if not cards and not between:
        return None
    title = "What got worse" if "base" in report.lanes else "What fails, and is not known to"
    note = str(len(cards) + len(between))
    return Section("worse", title, "failures.html", {"cards": cards, "between": between}, note, "bad", open=True)


def unanswered(report: Report) -> Section | None:
    cards = _cards(report, Change.UNANSWERED)
    data = {"cards": cards, "between": ()}
    is_why = report.verdict is Verdict.UNKNOWN
    title = "Not answered"
    return Section("unanswered", title, "failures.html", data, str(len(cards)), "doubt", open=is_why) if cards else None


def _cards(report: Report, change: Change) -> list[Card]:
    chosen = [c for c in report.judgement.comparisons if c.change is change]
    return [_card(report, comparison) for comparison in sorted(chosen, key=lambda c: c.id)]


def _card(report: Report, comparison: Comparison) -> Card:
    bad = [r for r in comparison.head if r.outcome is not Outcome.PASS] or list(comparison.head)
    old = {print_ for result in comparison.base for print_ in result.fingerprints}
    findings = [f for f in bad[0].findings if f.fingerprint not in old] if bad else []
    return Card(
        comparison.id,
        str(comparison.change),
        comparison.reason,
        report.culprit(comparison.id),
        answers([("base", comparison.base), ("head", comparison.head)]),
        _said(bad[0], findings) if bad else "",
        tuple(_splat(finding) for finding in findings[:SPLATS]),
        bad[0].evidence if bad else "",
        report.again(comparison.id),
        report.anywhere(comparison.id),
    )


def answers(lanes: Sequence[tuple[str, Sequence[Result]]], known: Collection[str] = ()) -> tuple[Answer, ...]:
    """What each lane said, in few words: the outcome, and how often when it was asked again. On the lanes in ``known``
    it is known to fail."""
    found = []
    for lane, results in lanes:
        if not results:
            continue
        first = results[0].outcome
        same = sum(result.outcome is first for result in results)
        text = f"{first} {same} of {len(results)}" if len(results) > 1 else str(first)
        found.append(Answer(lane, text, mark_class(first, lane in known)))
    return tuple(found)


def _said(result: Result, findings: Sequence[Finding]) -> str:
    """What the test said beside its splats; all that a person reads first where there are none."""
    if not findings:
        return "\n".join(excerpt(result))
    texts = {finding.text for finding in findings}
    if result.only_findings or result.evidence in texts:
        return ""
    return "\n".join(itertools.takewhile(str.strip, result.evidence.splitlines()[:SAID_LINES]))


def _splat(finding: Finding) -> Splat:
    lines = [line for line in finding.text.splitlines() if not NOISE.match(line)]
    known = [f" ({' '.join(map(str, places))})" for _, places in finding.lines if places]
    split = [_placed(line, known) for line in lines[:SPLAT_LINES]]
    title = finding.title.removeprefix(f"{finding.kind}:").strip()
    return Splat(str(finding.kind), title, tuple(split), max(0, len(lines) - SPLAT_LINES))


def _placed(line: str, known: Sequence[str]) -> tuple[str, str]:
    """A line, and the places in the source that were written behind it."""
    place = next((text for text in known if line.endswith(text)), "")
    return line.removesuffix(place), place.strip(" ()")
