# SPDX-License-Identifier: GPL-2.0-only
"""What one question to one kernel was answered with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from harness.model.finding import Finding


class Outcome(StrEnum):
    """How a test or a stage ended.

    FAIL ran to its end and said no. LOST was announced and never reported: panic, hang, reset. ERROR: we could not
    ask (emulation, QEMU, link, our own bug).
    """

    PASS = "PASS"
    SKIP = "SKIP"
    FAIL = "FAIL"
    LOST = "LOST"
    ERROR = "ERROR"


_NUMBER = re.compile(r"\b(?:0x[0-9a-f]+|\d[\d.]*)", re.ASCII)

RANK = {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.LOST: 2}
"""Worse is higher. SKIP and ERROR have no rank: they are not answers."""


KERNEL_LOG = "boot/kernel-log"
"""Pseudo test: what the kernel said before the first test began, or as the driver was unloaded. Every guest answers it,
whatever else it was asked."""


@dataclass(frozen=True)
class Measure:
    """A number with its unit ("bytes", "messages")."""

    value: float
    unit: str


@dataclass(frozen=True)
class Series:
    """What a sensor said over a test, a value every ``every`` seconds."""

    unit: str
    every: float
    values: tuple[float, ...]


@dataclass(frozen=True)
class Result:
    """One attempt at one test or stage.

    ``id`` is a pytest node id relative to tests/target, or ``stage/<name>``. ``evidence`` is what a person needs to
    believe it: assertion text, splat, console tail. ``seconds`` is wall time in the guest. ``only_findings``: the test
    itself said yes, and only the kernel messages make it a FAIL. ``known``: it failed, and all of that is on the
    list of known failures; it counts as a PASS then, but nothing was mended. ``disarmed``: detectors of the kernel that
    were off already when the test began; what they would have said nobody knows. ``boot``: the number of the guest, 0
    for none. ``series``: what sensors said meanwhile, by name.
    """

    id: str
    outcome: Outcome
    evidence: str = ""
    attempt: int = 1
    seconds: float = 0.0
    findings: tuple[Finding, ...] = ()
    only_findings: bool = False
    measures: Mapping[str, Measure] = field(default_factory=dict)
    known: bool = False
    disarmed: tuple[str, ...] = ()
    boot: int = 0
    series: Mapping[str, Series] = field(default_factory=dict)

    @property
    def fingerprints(self) -> frozenset[str]:
        return frozenset(finding.fingerprint for finding in self.findings)

    @property
    def said(self) -> str:
        """What it said first, without numbers that are others every time."""
        return _NUMBER.sub("N", self.first_line)

    @property
    def first_line(self) -> str:
        """Of the evidence."""
        return self.evidence.strip().partition("\n")[0] or "nothing said"

    @property
    def is_stage(self) -> bool:
        return self.id.startswith("stage/")
