# SPDX-License-Identifier: GPL-2.0-only
"""Report -> one check of the tools that reviewers use: the JSON that ``b4 review`` reads from a check command, and the
body of a POST to Patchwork's checks. Files only; sending is the user's.

GOOD is a success, BAD a failure; UNKNOWN is a warning: nobody must take it for either.
"""

from __future__ import annotations

import json

from harness.log import printable
from harness.model.judge import Verdict
from harness.model.report import Report

TOOL = "xdna-harness"
B4 = {Verdict.GOOD: "pass", Verdict.BAD: "fail", Verdict.UNKNOWN: "warn"}
PATCHWORK = {Verdict.GOOD: "success", Verdict.BAD: "fail", Verdict.UNKNOWN: "warning"}
LONGEST = 255
"""Characters of a description that Patchwork shows whole."""


def summary(report: Report) -> str:
    """The verdict in one line: what got worse, or what is doubtful about it."""
    reasons = [*report.judgement.reasons, *report.doubts] if report.verdict is not Verdict.GOOD else list(report.doubts)
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    text = f"{report.verdict} on {report.variant}" + (f": {reasons[0]}{more}" if reasons else "")
    return printable(" ".join(text.split()))


def b4(report: Report, details: str) -> str:
    """A list with one check: tool, status (pass, warn, fail), summary, details (plain text). Source: b4 0.15,
    b4/review/checks.py."""
    return _b4(B4[report.verdict], summary(report), details)


def untested(why: str) -> str:
    """The same where there is no report: b4 would take an error for a failure of the series."""
    return _b4(B4[Verdict.UNKNOWN], printable(f"not tested: {why}"), "")


def _b4(status: str, summary: str, details: str) -> str:
    return json.dumps([{"tool": TOOL, "status": status, "summary": summary, "details": details}], indent=1) + "\n"


def patchwork(report: Report) -> str:
    """state (success, warning, fail), context, description. Source: Patchwork's API 1.3, patches/<id>/checks/."""
    text = summary(report)
    short = text if len(text) <= LONGEST else text[: LONGEST - 4] + " ..."
    check = {"state": PATCHWORK[report.verdict], "context": f"{TOOL}-{report.variant}", "description": short}
    return json.dumps(check, indent=1) + "\n"
