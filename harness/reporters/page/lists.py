# SPDX-License-Identifier: GPL-2.0-only
"""What is neither worse nor a picture: patches, better, flaky, known, and failing on both lanes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.model.judge import Change, Comparison
from harness.model.report import Report
from harness.model.result import Outcome
from harness.reporters.page.document import Section
from harness.reporters.page.pictures.grid import mark_class


@dataclass(frozen=True)
class Patch:
    """One patch of the series. ``counts``: outcome, its colour, how many; ``blamed``: the tests that it broke."""

    place: str
    title: str
    counts: tuple[tuple[str, str, int], ...]
    how: str
    warnings: tuple[str, ...]
    proofs: tuple[str, ...]
    blamed: tuple[str, ...]


def patches(report: Report) -> Section | None:
    if not report.patches:
        return None
    whole = len(report.patches)
    rows = [
        Patch(
            f"{patch.number}/{whole}",
            patch.title,
            tuple((o, mark_class(Outcome(o)), n) for o, n in sorted(patch.outcomes.items())),
            f"{patch.how} ({patch.seconds:.0f} s)" if patch.how else "not built",
            patch.new_warnings,
            report.proofs.get(patch.number, ()),
            tuple(c.test for c in report.culprits if c.introduced == (patch.number,)),
        )
        for patch in report.patches
    ]
    proved = sum(bool(row.proofs) for row in rows)
    note = f"{whole}, of which {proved} proved by a test" if proved else str(whole)
    return Section("patches", "Patch by patch", "patches.html", {"rows": rows}, note)


def better(report: Report) -> Section | None:
    rows = [(c.id, c.reason) for c in report.judgement.comparisons if c.change is Change.FIXED]
    return _list("better", "Better", rows, "Failed on base, and passes with the series.", "good")


def flaky(report: Report) -> Section | None:
    rows = [(c.id, c.reason) for c in report.judgement.comparisons if c.change is Change.FLAKY]
    return _list("flaky", "Flaky", rows, "As bad on base when asked again: nobody is blamed.", "doubt")


def known(report: Report) -> Section | None:
    rows = [(test, "; ".join(reasons)) for test, reasons in sorted(report.known.items())]
    rows += [(test, "known to fail, and passing: a kernel that has the fix") for test in report.mended]
    return _list("known", "Known to fail", rows, "Hidden from the verdict, each with its reason.")


def same(report: Report) -> Section | None:
    """Tests that fail on both lanes: not the series, as far as the outcome tells."""
    bad = (Outcome.FAIL, Outcome.LOST)
    chosen = [
        c
        for c in report.judgement.comparisons
        if c.change is Change.SAME and c.base and c.head and c.head[0].outcome in bad
    ]
    rows = [(c.id, _both(c)) for c in chosen]
    odd = sum(c.otherwise for c in chosen)
    lead = f"Not worse than base, but {odd} of them not by the same words: look." if odd else "Not the series' doing."
    return _list("same", "Fails on base too", rows, lead, "doubt" if odd else "")


def _both(comparison: Comparison) -> str:
    base, head = comparison.base[0], comparison.head[0]
    if comparison.otherwise:
        return f"{base.outcome} on base: {base.first_line}; {head.outcome} on head: {head.first_line}"
    return f"{head.outcome} on both"


def _list(name: str, title: str, rows: Iterable[tuple[str, str]], lead: str, tone: str = "") -> Section | None:
    found = sorted(rows)
    return Section(name, title, "list.html", {"rows": found, "lead": lead}, str(len(found)), tone) if found else None
