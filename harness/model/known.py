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
    """One entry: names a test or a finding's fingerprint, never a pattern over either.

    With ``says``, ``fingerprint`` may be the beginning of one, up to a frame: a defect that is reached by many callers
    is one entry. The splat must then contain each of these texts, so that another defect in the same function is not
    hidden.

    ``kernels`` are glob patterns over the version ("7.3.*"). After ``expires`` the entry hides nothing any more. A
    ``rate`` (0 to 1) marks a race: such an entry is not strict, it may pass.
    """

    reason: str
    kernels: tuple[str, ...]
    expires: date
    test: str = ""
    fingerprint: str = ""
    rate: float | None = None
    says: tuple[str, ...] = ()

    def covers(self, version: str, today: date) -> bool:
        return today <= self.expires and any(fnmatchcase(version, pattern) for pattern in self.kernels)

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


def hide(result: Result, entries: Sequence[KnownFailure], version: str, today: date) -> Hidden:
    """Take what is known out of ``result``. ERROR and SKIP are never hidden: nothing was asked."""
    valid = [entry for entry in entries if entry.covers(version, today)]
    if result.outcome not in (Outcome.FAIL, Outcome.LOST):
        return Hidden(result)
    named = [entry for entry in valid if entry.test and entry.test == result.id]
    explained = {f: entry.reason for f in result.findings for entry in valid if entry.explains(f)}
    left = tuple(f for f in result.findings if f not in explained)
    reasons = list(dict.fromkeys(explained.values()))
    if named and not left:
        return Hidden(replace(result, outcome=Outcome.PASS, findings=()), (*reasons, named[0].reason))
    if reasons and not left and result.outcome is Outcome.FAIL and result.only_findings:
        return Hidden(replace(result, outcome=Outcome.PASS, findings=()), tuple(reasons))
    return Hidden(replace(result, findings=left), tuple(reasons))
