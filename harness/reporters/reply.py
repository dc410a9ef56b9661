# SPDX-License-Identifier: GPL-2.0-only
"""Report -> the text of a reply to the series, as kernel developers write it: what was tested, on what, what got worse,
who did it, and how to see it. A file only; reading and sending it is the user's.
"""

from __future__ import annotations

import re
import textwrap

from harness.log import printable
from harness.model.judge import Change, Comparison, Verdict
from harness.model.report import Report
from harness.model.result import Outcome
from harness.reporters.text import excerpt

WIDTH = 72
SHOWN = 10
FACTS = ("series", "kernel", "base", "qemu", "accelerator", "edit")
SERIES = {
    Verdict.GOOD: "I ran this series through xdna-harness, and found nothing that it makes worse.",
    Verdict.BAD: "I ran this series through xdna-harness. It makes something worse:",
    Verdict.UNKNOWN: "I ran this series through xdna-harness, and cannot say whether it makes anything worse:",
}
KERNEL = {
    Verdict.GOOD: "I ran this kernel through xdna-harness, and found nothing that is not known.",
    Verdict.BAD: "I ran this kernel through xdna-harness. Something fails that is not known to:",
    Verdict.UNKNOWN: "I ran this kernel through xdna-harness, and cannot say whether anything is wrong with it:",
}

_TRAILER = re.compile(
    r"\s*(?:\w\S*:\s.*@|(?:\w\S*-by|cc|fixes|link|buglink|closes|subject|date|change-id|base-commit):\s)|<",
    re.IGNORECASE,
)
"""What b4 0.16 takes for one in an answer: any name before an address, or one of its own; or for the rest of one."""


def render(report: Report, who: str = "") -> str:
    """``who`` ("A Name <mail>") is who stands for it: without, the reply has no trailers to be picked up."""
    lines = [*textwrap.wrap((SERIES if "base" in report.lanes else KERNEL)[report.verdict], WIDTH), ""]
    lines += [line for comparison in _worse(report) for line in _regression(report, comparison)]
    if report.verdict is not Verdict.GOOD:
        told = {comparison.id for comparison in _worse(report)}
        rest = [reason for reason in report.judgement.reasons if reason.partition(": ")[0] not in told]
        lines += [line for reason in rest[:SHOWN] for line in _wrapped(reason)]
    lines += [line for doubt in report.doubts for line in _wrapped(f"Note: {doubt}.")]
    if better := report.ids(Change.FIXED):
        lines += ["", "Fail before the series, and pass with it:", *(f"  {test}" for test in better[:SHOWN])]
        lines += [f"  and {len(better) - SHOWN} more"] if len(better) > SHOWN else []
    lines += ["", "Tested:"]
    lines += [line for name in FACTS if name in report.facts for line in _wrapped(f"{name}: {report.facts[name]}", 2)]
    lines += [f"  kernel of the {name} lane: {lane.kernel}" for name, lane in report.lanes.items()]
    lines += [f"  variant: {report.variant}", f"  run: {report.key}"]
    shown = [_shown(line) for line in printable("\n".join(lines)).split("\n")]
    return "\n".join([*shown, *(printable(line) for line in _trailers(report, who))]) + "\n"


def tested(report: Report) -> bool:
    """Whether a Tested-by says something: lines that the series changes were run, and tests failed before and pass,
    each as often as a claim needs."""
    ran = report.own_lines is not None and report.own_lines.run > 0
    return report.verdict is Verdict.GOOD and ran and any(c.mended for c in report.judgement.comparisons)


def _worse(report: Report) -> list[Comparison]:
    return [c for c in report.judgement.comparisons if c.change is Change.REGRESSED][:SHOWN]


def _regression(report: Report, comparison: Comparison) -> list[str]:
    lines = [f"* {comparison.id}", *_wrapped(comparison.reason, 2)]
    if culprit := report.culprit(comparison.id):
        lines += _wrapped(culprit, 2)
    answers = [r for r in comparison.head if r.outcome is not Outcome.PASS]
    lines += ["", *(f"    | {line}" for line in (excerpt(answers[0]) if answers else []))]
    if "::" in comparison.id:
        lines += ["", "  To see it:", f"    {report.anywhere(comparison.id)}"]
    return [*lines, ""]


def _shown(line: str) -> str:
    """A line in which others may have had a say, quoted if a program that collects trailers (b4, Patchwork) would take
    it for one, wherever a paragraph was broken."""
    return f"| {line}" if _TRAILER.match(line) else line


def _wrapped(text: str, indent: int = 0) -> list[str]:
    """One paragraph: what came in a mail cannot begin a line of its own choice."""
    space = " " * indent
    return textwrap.wrap(" ".join(text.split()), WIDTH, initial_indent=space, subsequent_indent=space + "  ") or [""]


def _trailers(report: Report, who: str) -> list[str]:
    if not who:
        return []
    if tested(report):
        return ["", f"Tested-by: {who} # xdna-harness run {report.key}"]
    if report.verdict is not Verdict.BAD:
        return []
    lines = ["", "If you fix this in a patch of its own, please add:", f"Reported-by: {who}"]
    return lines + ([f"Closes: {report.link}"] if report.link else [])
