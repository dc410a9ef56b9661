# SPDX-License-Identifier: GPL-2.0-only
"""Consoles that our own runs left, whole: what a person would call a splat is found, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.formats.splat import find_splats
from harness.job import read_known
from harness.model.finding import Kind

PROJECT = Path(__file__).parents[3]
CONSOLES = PROJECT / "tests" / "data" / "console"


def captured(name: str) -> str:
    return (CONSOLES / name).read_text(errors="replace")


def test_a_panic_that_a_patch_planted_in_probe() -> None:
    (finding,) = find_splats(captured("panic-at-probe.log"))
    assert finding.kind is Kind.PANIC
    assert finding.title.endswith("planted: panic at probe")
    assert finding.fingerprint.startswith("PANIC:amdxdna_probe:")


def test_the_oops_of_7_1_when_the_heap_handle_is_closed() -> None:
    findings = find_splats(captured("oops-heap-handle-closed-7.1.13.log"))
    oops = [f for f in findings if f.kind is Kind.OOPS]
    assert len(oops) == 1
    assert "NULL pointer dereference" in oops[0].title


@pytest.mark.parametrize("name", sorted(path.name for path in CONSOLES.glob("*.log")))
def test_the_boot_before_is_clean(name: str) -> None:
    before = captured(name).partition("Run /init as init process")[0]
    assert len(before.splitlines()) > 100
    assert find_splats(before) == []


def test_the_use_after_free_behind_a_trace_point_of_7_3() -> None:
    """jobs/known.toml has an entry for it: a change of how findings are made would unhide it."""
    (finding,) = find_splats(captured("kasan-at-probe-7.3.4.log"))
    assert finding.kind is Kind.KASAN
    assert any(entry.explains(finding) for entry in read_known(PROJECT / "jobs" / "known.toml"))
