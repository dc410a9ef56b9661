# SPDX-License-Identifier: GPL-2.0-only
"""Review -> text for a person, and review.json for programs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from harness.log import printable
from harness.model.complaint import Added, CheckReport, Complaint
from harness.model.judge import Change
from harness.model.review import Review
from harness.model.revision import Changed, Previous, Remark, Turn
from harness.model.standing import Standing
from harness.reporters import data
from harness.reporters.text import details, flat, kept, opening

SHOWN = 30
FEW = 5
RANGE_LINES = 200


def render(review: Review) -> str:
    """Verdict first, then what a reviewer asks, then all that the run says. Nothing reaches a terminal unescaped."""
    lines = opening(review.report) + _checks(review) + _previous(review) + _standing(review.standing)
    lines += details(review.report)
    lines += [f"again: {shlex.join(review.command)}"]
    return printable("\n".join(lines)) + "\n"


def _checks(review: Review) -> list[str]:
    lines = ["", "static checks, what is new against the base:"]
    count = len(review.patches)
    for number, title in enumerate(review.patches, 1):
        lines.append(f"  {number}/{count} {flat(title)}")
        found = [f"{check.name}: {added_text(added)}" for check, added in review.added(number)]
        lines += [f"      {flat(text)}" for text in found[:SHOWN]] or ["      nothing new"]
        lines += [f"      and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    for state in ("clean", "not asked"):
        chosen = [check for check in review.checks if check.state == state]
        if state == "clean" and chosen:
            lines.append(f"  nothing new from {', '.join(check.name for check in chosen)}")
        elif chosen:
            lines += [f"  not asked: {check.name}: {flat(why_not_asked(check))}" for check in chosen]
    lines += [f"  {check.name}: {flat(gap)}" for check in review.checks for gap in check.gaps]
    gone = [(check, complaint) for check in review.checks for complaint in check.gone]
    return lines + [f"  the series takes away: {check.name}: {flat(str(c))}" for check, c in gone[:SHOWN]]


def added_text(added: Added) -> str:
    text = str(added.complaint)
    if added.first < added.patch:
        text += f" (one of the patches {added.first} to {added.patch} brought it)"
    return f"{text} (fixed by patch {added.fixed})" if added.fixed else text


def why_not_asked(check: CheckReport) -> str:
    """The reason, with the prefixes where it is not the same for all."""
    reasons = dict.fromkeys(check.not_asked.values())
    if len(reasons) == 1 and not check.asked:
        return next(iter(reasons))
    return "; ".join(f"{f'patch {number}' if number else 'base'}: {why}" for number, why in check.not_asked.items())


def _previous(review: Review) -> list[str]:
    previous = review.previous
    if previous is None:
        return ["", f"previous revision: {flat(review.no_previous)}"] if review.no_previous else []
    lines = ["", f"against {previous.name}, {flat(previous.title)} ({flat(previous.how)}):"]
    if previous.report is not None:
        lines.append(f"  {previous.name} by itself: {previous.report.verdict} ({previous.report.run})")
        lines += [line for change in previous.changed[:SHOWN] for line in _changed(change, previous)]
        lines += [f"  {flat(text)}" for text in unchanged_texts(previous)]
    else:
        lines.append(f"  {previous.name} was not asked: {flat(previous.no_report)}")
    lines += _trailers(previous) + _remarks(previous) + _range_diff(previous)
    return lines


def _changed(change: Changed, previous: Previous) -> list[str]:
    head = f"  {change.turn}: {changed_text(change, previous)}"
    return [head, *(f"      {flat(text)}" for text in finding_texts(change))]


def unchanged_texts(previous: Previous) -> tuple[str, ...]:
    """What is to be said of the tests that did not come out otherwise, for a previous revision that was asked."""
    left = previous.not_compared
    if left:
        more = f" and {len(left) - FEW} more" if left[FEW:] else ""
        return (f"{len(left)} test{'s' if left[1:] else ''} could not be compared: {', '.join(left[:FEW])}{more}",)
    return () if previous.changed else ("every test comes out as before",)


def changed_text(change: Changed, previous: Previous) -> str:
    """One test, and how it came out in both revisions."""
    old, new = (_outcomes([str(r.outcome) for r in answers]) for answers in (change.old, change.new))
    worse = previous.report is not None and change.test in previous.report.ids(Change.REGRESSED)
    return f"{change.test}: {old} in {previous.name}{', worse than base' if worse else ''}; {new} now"


def finding_texts(change: Changed) -> tuple[str, ...]:
    """What shows the difference: findings that are gone or new, else the beginning of the evidence."""
    word = {Turn.BETTER: "gone", Turn.WORSE: "new", Turn.UNCERTAIN: "in some answers"}[change.turn]
    said = tuple(f"{word}: {text}" for text in change.findings)
    return said or tuple(change.shows.evidence.splitlines()[:1])


def _outcomes(answers: Sequence[str]) -> str:
    if not answers:
        return "missing"
    first = answers[0]
    if len(answers) == 1:
        return first
    return f"{first} ({answers.count(first)} of {len(answers)})"


def _trailers(previous: Previous) -> list[str]:
    found = previous.carried
    sides = (("carried over", found.kept), ("missing now", found.missing), ("new", found.new))
    return [f"  trailer {word}: {flat(trailer)}" for word, trailers in sides for trailer in trailers]


def _remarks(previous: Previous) -> list[str]:
    if previous.remarks is None:
        return [f"  remarks: no answers to {previous.name} are at hand, so nothing can be told of them"]
    return [f"  answer: {flat(remark_text(remark))}" for remark in previous.remarks]


def remark_text(remark: Remark) -> str:
    return f"{remark.author}, {remark.subject} ({remark.quoted} lines quoted): {remark.state}"


def _range_diff(previous: Previous) -> list[str]:
    if previous.no_range_diff:
        return [f"  no range-diff: {flat(previous.no_range_diff)}"]
    if not previous.range_diff:
        return ["  range-diff: no patch has changed"]
    lines = [
        f"  range-diff {previous.name} -> now:",
        *(f"    {kept(line)}" for line in previous.range_diff[:RANGE_LINES]),
    ]
    left = len(previous.range_diff) - RANGE_LINES
    return lines + ([f"    and {left} more lines in review.json"] if left > 0 else [])


def _standing(standing: Standing) -> list[str]:
    lines = ["", "where it stands:", f"  attestation: {flat(standing.attestation) or 'none checked'}"]
    lines.append(f"  newer revision: {f'v{standing.newer}' if standing.newer else 'none at hand'}")
    for patch in standing.patches:
        place = f"{patch.number}/{len(standing.patches)}"
        lines.append(f"  {place} {patch.place} ({flat(standing.tree)}): {flat(patch.why)}")
    return lines


def document(review: Review) -> dict[str, Any]:
    """``report`` as in report.json; ``checks`` with ``state`` (complains, clean, not asked), what each patch ``added``,
    and why it was ``not_asked`` by number of the prefix (0: base); ``previous`` with ``changed`` and ``not_compared``
    (tests), ``carried`` (trailers), ``remarks``, ``range_diff`` and its own ``report``; ``standing``."""
    previous = review.previous
    return {
        "report": data.document(review.report),
        "patches": list(review.patches),
        "checks": [_check(check) for check in review.checks],
        "previous": _previous_document(previous) if previous else None,
        "no_previous": review.no_previous,
        "standing": {**asdict(review.standing), "merged": review.standing.merged},
        "command": list(review.command),
    }


def _check(check: CheckReport) -> dict[str, Any]:
    return {
        "name": check.name,
        "tool": check.tool,
        "state": check.state,
        "added": [
            {"patch": a.patch, "first": a.first, "fixed": a.fixed, **_complaint(a.complaint)} for a in check.added
        ],
        "gone": [_complaint(complaint) for complaint in check.gone],
        "not_asked": dict(check.not_asked),
        "gaps": list(check.gaps),
    }


def _complaint(complaint: Complaint) -> dict[str, Any]:
    return asdict(complaint)


def _previous_document(previous: Previous) -> dict[str, Any]:
    return {
        "spec": previous.spec,
        "how": previous.how,
        "title": previous.title,
        "revision": previous.revision,
        "verdict": previous.report.verdict if previous.report else None,
        "run": str(previous.report.run) if previous.report else None,
        "no_report": previous.no_report,
        "changed": [
            {
                "test": change.test,
                "turn": change.turn,
                "old": [r.outcome for r in change.old],
                "new": [r.outcome for r in change.new],
                "findings": list(change.findings),
                "evidence": change.shows.evidence,
            }
            for change in previous.changed
        ],
        "not_compared": list(previous.not_compared),
        "carried": asdict(previous.carried),
        "remarks": None
        if previous.remarks is None
        else [{**asdict(remark), "open": remark.open} for remark in previous.remarks],
        "range_diff": list(previous.range_diff),
        "no_range_diff": previous.no_range_diff,
    }


def as_json(review: Review) -> str:
    return json.dumps(document(review), indent=1) + "\n"
