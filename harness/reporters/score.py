# SPDX-License-Identifier: GPL-2.0-only
"""Score -> text and JSON: how many of the planted bugs the suite catches, and which it does not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from harness.log import printable
from harness.model.planted import Fate, Proof, Score, median


def text(score: Score) -> str:
    """The score, then what somebody has to look at, then all."""
    quiet = len([proof for proof in score.neutral if proof.fate is Fate.SURVIVED])
    neutral = f"; {quiet} of {len(score.neutral)} edits that change nothing survived" if score.neutral else ""
    lines = [f"{score}{neutral}  ({score.where})"]
    lines += _section("false alarms", score.false_alarms)
    lines += _section("survived", score.of(Fate.SURVIVED))
    lines += _section("do not build", score.of(Fate.NOT_BUILT))
    lines += _section("unknown", score.unknown)
    lines += _section("trivial, and not counted", score.of(Fate.TRIVIAL))
    lines += _kinds([proof for proof in score.proofs if proof.counts])
    lines += ["", *_times(score), "", "all:", *(_row(proof) for proof in score.proofs)]
    return printable("\n".join(lines)) + "\n"


def _kinds(proofs: Sequence[Proof]) -> list[str]:
    """How many of each kind, and of those in what the series adds, are caught."""
    groups = {str(kind): [p for p in proofs if p.kind is kind] for kind in sorted({p.kind for p in proofs})}
    groups |= {"in what the series adds": added} if (added := [p for p in proofs if p.series]) else {}
    rows = [f"  {name}: {sum(p.fate is Fate.CAUGHT for p in mine)} of {len(mine)}" for name, mine in groups.items()]
    return ["", "by kind:", *rows] if rows else []


def _times(score: Score) -> list[str]:
    caught = [proof.seconds for proof in score.of(Fate.CAUGHT)]
    survived = [proof.seconds for proof in score.proofs if proof.fate is Fate.SURVIVED]
    lines = [f"caught in {median(caught):.0f} s in the median, {max(caught):.0f} s at most"] if caught else []
    return lines + ([f"survivors took {max(survived):.0f} s at most"] if survived else [])


def _section(title: str, proofs: Sequence[Proof]) -> list[str]:
    if not proofs:
        return []
    lines = ["", f"{title}: {len(proofs)}"]
    for proof in proofs:
        lines.append(f"  {proof.id} ({proof.kind}): {_flat(proof.title)}")
        said = [_flat(part) for part in (proof.by, proof.reason) if part]
        lines += [f"    {': '.join(said)}"] if said else []
        lines += [f"    not seen from outside: {_flat(proof.survives)}"] if proof.survives else []
    return lines


def _row(proof: Proof) -> str:
    series = "series" if proof.series else ""
    asked = f"{proof.asked} asked" if proof.asked else ""
    row = f"  {proof.fate:<14} {proof.seconds:>4.0f} s  {proof.kind:<15} {series:<7} {proof.id}  {proof.by or asked}"
    return row.rstrip()


def _flat(text: str) -> str:
    return " ".join(text.split())


def data(score: Score) -> str:
    """``planted`` (all but the neutral ones), ``counted`` (of these those that are not trivial), ``caught``, ``score``
    (per cent, null when nothing counts), ``where``, ``false_alarms`` and ``unknown`` (ids), and ``bugs``: id, kind,
    outcome, by (a test's id, or empty), seconds, and the rest."""
    found = {
        "planted": score.planted,
        "counted": score.counted,
        "caught": score.caught,
        "score": round(100 * score.caught / score.counted, 1) if score.counted else None,
        "neutral": len(score.neutral),
        "where": score.where,
        "false_alarms": [proof.id for proof in score.false_alarms],
        "unknown": [proof.id for proof in score.unknown],
        "bugs": [_bug(proof) for proof in score.proofs],
    }
    return json.dumps(found, indent=1) + "\n"


def _bug(proof: Proof) -> dict[str, Any]:
    record = proof.record()
    return {"id": proof.id, "kind": proof.kind, "outcome": record.pop("fate"), **record}
