# SPDX-License-Identifier: GPL-2.0-only
"""Report -> a KCIDB submission, schema 5.3 (kcidb-io): one checkout, build and set of tests for each lane.

A failure of the lab is MISS (a test did not run) or ERROR (it did not complete), never FAIL. A test that is known to
fail is FAIL as it came, with the reason in ``misc``: that is what KCIDB's issues are for.
"""

from __future__ import annotations

import json
import re
from typing import Any

from harness.log import printable
from harness.model.report import FAILED, LaneReport, Report
from harness.model.result import Outcome, Result

ORIGIN = "xdna_harness"
VERSION = {"major": 5, "minor": 3}
LOG_CHARACTERS = 16000
STATUS = {
    Outcome.PASS: "PASS",
    Outcome.FAIL: "FAIL",
    Outcome.LOST: "FAIL",
    Outcome.SKIP: "SKIP",
    Outcome.ERROR: "ERROR",
}


def render(report: Report) -> str:
    """The document, for ``kcidb-submit`` or a POST by the user."""
    lanes = list(report.lanes.values())
    document = {
        "version": VERSION,
        "checkouts": [_checkout(report, lane) for lane in lanes],
        "builds": [_build(report, lane) for lane in lanes if _stage(lane, "build")],
        "tests": [test for lane in lanes if lane.kernel for test in _tests(report, lane)],
    }
    return json.dumps(document, indent=1) + "\n"


def _id(report: Report, lane: LaneReport) -> str:
    return f"{ORIGIN}:{report.key}-{lane.name}"


def _stage(lane: LaneReport, name: str) -> Result | None:
    return next((r for r in lane.results if r.id == f"stage/{name}"), None)


def _checkout(report: Report, lane: LaneReport) -> dict[str, Any]:
    applied = _stage(lane, "apply")
    found: dict[str, Any] = {
        "id": _id(report, lane),
        "origin": ORIGIN,
        "comment": _text(f"{report.title}, {lane.name} lane"),
        "misc": {"lane": lane.name, "verdict": report.verdict, "facts": dict(report.facts)},
    }
    if applied is not None:
        found["valid"] = applied.outcome is Outcome.PASS
    if report.message_id and lane.name != "base":
        found["message_id"] = report.message_id
    return found


def _build(report: Report, lane: LaneReport) -> dict[str, Any]:
    built = _stage(lane, "build")
    outcome = built.outcome if built is not None else Outcome.ERROR
    found: dict[str, Any] = {
        "id": _id(report, lane),
        "checkout_id": _id(report, lane),
        "origin": ORIGIN,
        "architecture": "x86_64",
        "config_name": report.variant,
        "status": STATUS[outcome],
        "misc": {"kernel": lane.kernel},
    }
    if built is not None and outcome is not Outcome.PASS:
        found["log_excerpt"] = _text(built.evidence)[-LOG_CHARACTERS:]
    return found


def _tests(report: Report, lane: LaneReport) -> list[dict[str, Any]]:
    """Every answer of the lane, repetitions too. Stages before the suite are tests of their own."""
    answers = [r for r in lane.results if r.id not in ("stage/apply", "stage/build")]
    return [_test(report, lane, result) for result in answers]


def _test(report: Report, lane: LaneReport, result: Result) -> dict[str, Any]:
    known = lane.known.get(result.id, ())
    found: dict[str, Any] = {
        "id": f"{_id(report, lane)}-{_text(result.id)}-{result.attempt}",
        "build_id": _id(report, lane),
        "origin": ORIGIN,
        "environment": {"comment": _text(f"{report.variant}, {report.facts.get('qemu', 'a machine')}")},
        "path": path(result.id),
        "status": STATUS[result.outcome],
        "duration": round(result.seconds, 3),
        "misc": {
            "attempt": result.attempt,
            "outcome": result.outcome,
            "findings": [finding.fingerprint for finding in result.findings],
            "known": list(known),
        },
    }
    if result.outcome in FAILED:
        found["misc"]["again"] = _text(report.anywhere(result.id))
    if result.evidence:
        found["log_excerpt"] = _text(result.evidence)[:LOG_CHARACTERS]
    return found


def path(test: str) -> str:
    """``test_x.py::test_a[1-b c]`` as ``xdna.test_x.test_a.1-b_c``."""
    parts = re.split(r"::|/|\[", test.replace(".py::", "::").rstrip("]"))
    return ".".join(["xdna", *(re.sub(r"[^A-Za-z0-9_-]+", "_", part) or "_" for part in parts)])


def _text(text: str) -> str:
    return printable(text)
