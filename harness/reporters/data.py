# SPDX-License-Identifier: GPL-2.0-only
"""Report -> report.json: for programs."""

from __future__ import annotations

import json
from typing import Any

from harness.model.finding import Finding
from harness.model.judge import Change
from harness.model.report import Report
from harness.model.result import Measure, Result


def render(report: Report) -> str:
    return json.dumps(document(report), indent=1) + "\n"


def document(report: Report) -> dict[str, Any]:
    """``verdict``, ``key`` (a hash of what was asked and built), ``command`` (the words that ask the same), ``fixed``,
    ``regressed``, ``suspect``, ``flaky``, ``unanswered`` (lists of ids), ``known`` and ``mended`` (ids of what is known
    to fail, and does or does not), ``doubts`` (what must be read with the verdict), ``own_lines`` (of the code that the
    series adds, how many were run, if that was counted), ``reasons``, ``facts``, ``notes``, ``trailers``, ``culprits``
    and ``patches`` when each patch was tested, ``measures`` (test, name, value and unit on base and head, null where
    there is none), ``again`` (by id of what failed, the line that asks it again), and all answers of each lane."""
    return {
        "verdict": report.verdict,
        "title": report.title,
        "key": report.key,
        "command": list(report.command),
        "doubts": list(report.doubts),
        "reasons": list(report.judgement.reasons),
        "own_lines": vars(report.own_lines) if report.own_lines else None,
        **{
            change.value: report.ids(change)
            for change in (Change.FIXED, Change.REGRESSED, Change.SUSPECT, Change.FLAKY, Change.UNANSWERED)
        },
        "known": sorted(report.known),
        "mended": report.mended,
        "known_reasons": {test: list(reasons) for test, reasons in report.known.items()},
        "again": {c.id: report.again(c.id) for c in report.judgement.comparisons if report.failed(c)},
        "variant": report.variant,
        "facts": dict(report.facts),
        "notes": list(report.notes),
        "trailers": list(report.trailers),
        "culprits": [
            {
                "test": culprit.test,
                "text": str(culprit),
                "introduced": list(culprit.introduced),
                "fixed": list(culprit.fixed),
                "still": culprit.still,
                "taken_out": culprit.taken_out,
            }
            for culprit in report.culprits
        ],
        "patches": [
            {
                "number": patch.number,
                "title": patch.title,
                "how": patch.how,
                "seconds": patch.seconds,
                "new_warnings": list(patch.new_warnings),
                "outcomes": dict(patch.outcomes),
                "fail_to_pass": list(report.proofs.get(patch.number, ())),
            }
            for patch in report.patches
        ],
        "measures": [
            {"test": n.test, "name": n.name, "base": _measure(n.base), "head": _measure(n.head)} for n in report.numbers
        ],
        "lanes": {
            name: {"kernel": lane.kernel, "results": [_result(r) for r in lane.results]}
            for name, lane in report.lanes.items()
        },
    }


def _result(result: Result) -> dict[str, Any]:
    return {
        "id": result.id,
        "outcome": result.outcome,
        "attempt": result.attempt,
        "seconds": round(result.seconds, 3),
        "evidence": result.evidence,
        "findings": [_finding(finding) for finding in result.findings],
        "disarmed": list(result.disarmed),
        "measures": {name: _measure(m) for name, m in result.measures.items()},
        **({"series": {name: vars(series) for name, series in result.series.items()}} if result.series else {}),
    }


def _measure(measure: Measure | None) -> dict[str, Any] | None:
    return {"value": measure.value, "unit": measure.unit} if measure else None


def _finding(finding: Finding) -> dict[str, Any]:
    """``frames``: those of all its stacks, in their order; ``at``: file, line and function, inlined ones first."""
    frames = [{"frame": str(frame), "at": [vars(place) for place in places]} for frame, places in finding.lines]
    return {"kind": finding.kind, "title": finding.title, "fingerprint": finding.fingerprint, "frames": frames}
