# SPDX-License-Identifier: GPL-2.0-only
"""What a review adds to the page of its run: static checks by patch, the previous revision, where the series stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.model.review import Review
from harness.model.revision import Previous, Turn
from harness.model.standing import Place
from harness.reporters.page.document import Section
from harness.reporters.review import (
    added_text,
    changed_text,
    finding_texts,
    remark_text,
    unchanged_texts,
    why_not_asked,
)

TONES = {Turn.WORSE: "bad", Turn.BETTER: "good", Turn.UNCERTAIN: "doubt"}


@dataclass(frozen=True)
class Row:
    """A line with what is known behind it; ``word`` stands before it in the colour ``tone``."""

    text: str
    word: str = ""
    tone: str = "plain"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    title: str
    rows: tuple[Row, ...]


def sections(review: Review) -> list[Section]:
    """The three of them, as far as there is something to say."""
    previous = _previous(review.previous) if review.previous else None
    return [_checks(review), *([previous] if previous else []), _standing(review)]


def _checks(review: Review) -> Section:
    whole = len(review.patches)
    groups = []
    for number, title in enumerate(review.patches, 1):
        rows = tuple(Row(added_text(added), check.name, "doubt") for check, added in review.added(number))
        groups.append(Group(f"{number}/{whole} {title}", rows or (Row("nothing new", "clean", "good"),)))
    clean = tuple(Row(check.name, notes=check.gaps) for check in review.checks if check.state == "clean")
    silent = tuple(Row(why_not_asked(check), check.name, "doubt") for check in review.not_asked)
    groups += [Group("Nothing new", clean)] if clean else []
    groups += [Group("Not asked, so nothing is known", silent)] if silent else []
    found = sum(len(check.added) for check in review.checks)
    note = f"{found} new" if found else "nothing new"
    note += f", {len(silent)} not asked" if silent else ""
    return _section("checks", "Static checks", groups, note, "doubt" if found else "")


def _previous(previous: Previous) -> Section:
    rows = tuple(
        Row(changed_text(change, previous), change.turn, TONES[change.turn], finding_texts(change))
        for change in previous.changed
    )
    if previous.report is None:
        groups = [Group(f"{previous.name} was not asked", (Row(previous.no_report),))]
    else:
        rest = tuple(Row(text) for text in unchanged_texts(previous))
        groups = [Group(f"{previous.name} by itself: {previous.report.verdict}", (*rows, *rest))]
    carried = previous.carried
    kinds = (("carried over", carried.kept), ("missing now", carried.missing), ("new", carried.new))
    trailers = tuple(
        Row(text, word, "bad" if word == "missing now" else "plain") for word, all_ in kinds for text in all_
    )
    groups += [Group("Trailers", trailers)] if trailers else []
    if previous.remarks is None:
        groups.append(Group("Remarks", (Row(f"no answers to {previous.name} are at hand: nothing can be told"),)))
    elif previous.remarks:
        remarks = (Row(remark_text(r), "open" if r.open else "", "doubt") for r in previous.remarks)
        groups.append(Group("Remarks", tuple(remarks)))
    if previous.no_range_diff:
        groups.append(Group("Range-diff", (Row(previous.no_range_diff),)))
    note, tone = _count(previous)
    return _section("previous", f"Against {previous.name}", groups, note, tone, "\n".join(previous.range_diff))


def _count(previous: Previous) -> tuple[str, str]:
    """How many tests are worse and better, and the colour of that."""
    if previous.report is None:
        return f"{previous.name} was not asked", ""
    better = sum(change.turn is Turn.BETTER for change in previous.changed)
    worse = sum(change.turn is Turn.WORSE for change in previous.changed)
    note = f"{worse} worse, {better} better than in {previous.name}"
    note += f", {len(previous.not_compared)} not compared" if previous.not_compared else ""
    return note, "bad" if worse else "good" if better else ""


def _standing(review: Review) -> Section:
    standing = review.standing
    whole = len(standing.patches)
    facts = (
        Row(standing.attestation or "none checked", "attestation"),
        Row(f"v{standing.newer}" if standing.newer else "none at hand", "newer revision"),
    )
    rows = tuple(
        Row(patch.why, f"{patch.number}/{whole} {patch.place}", "doubt" if patch.place is Place.UNKNOWN else "plain")
        for patch in standing.patches
    )
    groups = [Group("On the list", facts), Group(standing.tree, rows)]
    groups += [Group("Previous revision", (Row(review.no_previous),))] if review.no_previous else []
    return _section("standing", "Where it stands", groups, str(standing.merged))


def _section(name: str, title: str, groups: Sequence[Group], note: str, tone: str = "", text: str = "") -> Section:
    data = {"groups": tuple(groups), "text": text, "label": "Range-diff"}
    return Section(name, title, "review.html", data, note, tone, open=True)
