# SPDX-License-Identifier: GPL-2.0-only
"""A driver against itself: every run is counted once, and what a tally is worth is not carried to another suite."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import score
from harness.errors import UsageError
from harness.host.store import Store
from harness.itself import against_itself, job_of
from harness.job import Job
from harness.model.judge import Judgement, Verdict
from harness.model.report import Report
from harness.score import NEVER, FalseAlarms

JOB = Job(kernel="debian:7.3")


def asking(*verdicts: Verdict) -> tuple[list[Path], object]:
    left, asked = list(verdicts), []

    def ask(job: Job, where: Path) -> Report:
        assert (job.base, job.kernel, job.fresh, job.twins) == ("debian:7.3", "debian:7.3", True, True)
        asked.append(where)
        return Report(where, "t", Judgement(left.pop(0), ("why",)), {}, "emulated-npu4")

    return asked, ask


def test_each_run_counts_once_and_a_second_call_goes_on(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.root.mkdir()
    asked, ask = asking(Verdict.GOOD, Verdict.BAD, Verdict.UNKNOWN, Verdict.GOOD)
    first = against_itself(JOB, 3, tmp_path / "out", store, ask)  # type: ignore[arg-type]
    assert (first.runs, first.bad, first.unknown) == (3, 1, 1)
    assert "BAD" in (tmp_path / "out/itself.jsonl").read_text()
    second = against_itself(JOB, 4, tmp_path / "out", store, ask)  # type: ignore[arg-type]
    assert (second.runs, second.bad, second.unknown) == (4, 1, 1)
    assert [path.name for path in asked] == ["run-1", "run-2", "run-3", "run-4"]
    assert str(second).startswith(
        "1 of 4 (25 %; 95 %: 4.6 to 69.9) runs of a driver against itself, 1 without a verdict"
    )


def test_another_suite_or_variant_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    assert str(FalseAlarms.load(store)) == NEVER
    tally = FalseAlarms.load(store).plus(Verdict.GOOD, "a")
    tally.keep(store)
    assert FalseAlarms.load(store) == tally
    assert tally.plus(Verdict.GOOD, "b").runs == 1
    monkeypatch.setattr(score, "suite_key", lambda: "another")
    assert str(FalseAlarms.load(store)).endswith(score.AS_IT_WAS), "still quoted"
    assert FalseAlarms.load(store).plus(Verdict.BAD, "a") == replace(
        FalseAlarms("another"), runs=1, bad=1, variant="a", day=tally.day
    )
    (tmp_path / score.ITSELF).write_text("[]")
    assert FalseAlarms.load(store) == FalseAlarms("another")


def test_a_series_is_no_comparison_with_itself() -> None:
    with pytest.raises(UsageError, match="with itself"):
        job_of(Job(kernel="debian:7.3", series="x.mbox"))
