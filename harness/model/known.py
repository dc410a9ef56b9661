# SPDX-License-Identifier: GPL-2.0-only
"""Known failures: what a run may show without anybody having to act, for a while, and only that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from fnmatch import fnmatchcase

from harness.model.finding import Finding
from harness.model.result import Outcome, Result


@dataclass(frozen=True)
class KnownFailure:
    """One entry: names a test or a finding's fingerprint, never a pattern over either (but see ``findings``).

    With ``says``, ``fingerprint`` may be the beginning of one, up to a frame: a defect that is reached by many callers
    is one entry. The splat must then contain each of these texts, so that another defect in the same function is not
    hidden.

    ``findings`` are glob patterns over fingerprints that come with the failure, and are hidden in that test only: those
    of detectors that must stay on everywhere else. Freed memory that is used again is reported from wherever it is
    touched, hence patterns: "KASAN:*:amdxdna_gem_dev_obj_free:*". Where they say what a test that is LOST shows, one
    that shows nothing is not the known one: a kernel that resets without a word says nothing either.

    ``kernels`` are glob patterns over the version ("7.3.*"), ``variants`` over the variant's name ("*-force-iova-*").
    After ``expires`` the entry hides nothing any more. A test that is known to FAIL must not be LOST instead:
    ``outcome`` says which. A ``rate`` (0 to 1) marks a race; an entry without one is strict: that its test
    passes is news.
    """

    reason: str
    kernels: tuple[str, ...]
    expires: date
    test: str = ""
    fingerprint: str = ""
    rate: float | None = None
    says: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    outcome: Outcome = Outcome.FAIL
    variants: tuple[str, ...] = ("*",)

    def covers(self, version: str, variant: str, today: date) -> bool:
        here = any(fnmatchcase(variant, pattern) for pattern in self.variants)
        return here and today <= self.expires and any(fnmatchcase(version, pattern) for pattern in self.kernels)

    def names(self, result: Result) -> bool:
        if not self.test or self.test != result.id or self.outcome is not result.outcome:
            return False
        anything = self.outcome is not Outcome.LOST or not self.findings
        return anything or any(self.comes_with(finding) for finding in result.findings)

    def comes_with(self, finding: Finding) -> bool:
        return any(fnmatchcase(finding.fingerprint, pattern) for pattern in self.findings)

    def explains(self, finding: Finding) -> bool:
        if not self.fingerprint:
            return False
        if not self.says:
            return finding.fingerprint == self.fingerprint
        within = f"{finding.fingerprint}:".startswith(f"{self.fingerprint}:")
        return within and all(text in finding.text for text in self.says)


@dataclass(frozen=True)
class Hidden:
    """A result after the known failures were taken out of it.

    ``known`` are the reasons that were applied. ``result`` is what is left to judge: a failing test that an entry
    names is left as PASS; a test whose findings are all known, and which failed for nothing else, too.
    """

    result: Result
    known: tuple[str, ...] = ()


def hide(result: Result, valid: Sequence[KnownFailure]) -> Hidden:
    """Take what is known out of ``result``. ``valid`` are the entries that cover where it was asked. ERROR and SKIP are
    never hidden: nothing was asked."""
    if result.outcome not in (Outcome.FAIL, Outcome.LOST):
        return Hidden(result)
    named = [entry for entry in valid if entry.names(result)]
    explained = {f: entry.reason for f in result.findings for entry in valid if entry.explains(f)}
    explained |= {f: entry.reason for f in result.findings for entry in named if entry.comes_with(f)}
    left = tuple(f for f in result.findings if f not in explained)
    reasons = list(dict.fromkeys(explained.values()))
    if named and not left:
        return Hidden(replace(result, outcome=Outcome.PASS, findings=(), known=True), (*reasons, named[0].reason))
    if reasons and not left and result.outcome is Outcome.FAIL and result.only_findings:
        return Hidden(replace(result, outcome=Outcome.PASS, findings=(), known=True), tuple(reasons))
    return Hidden(replace(result, findings=left), tuple(reasons))


def mended(results: Sequence[Result], valid: Sequence[KnownFailure]) -> list[str]:
    """The tests that a strict entry calls failing, and that passed each time they were asked."""
    strict = {entry.test for entry in valid if entry.test and entry.rate is None}
    asked = [result for result in results if result.id in strict]
    return sorted({r.id for r in asked} - {r.id for r in asked if r.outcome is not Outcome.PASS})
