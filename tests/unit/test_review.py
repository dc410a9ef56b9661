# SPDX-License-Identifier: GPL-2.0-only
"""What goes wrong beside the run of a review is part of the review."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError, InfraError, PatchError, UsageError
from harness.job import Job
from harness.review import Request, Reviewer


@pytest.mark.parametrize("error", [UsageError("no such file", hint="look"), PatchError("no patch in it")])
def test_a_previous_revision_that_cannot_be_read_costs_no_review(
    error: HarnessError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(spec: str) -> None:
        raise error

    monkeypatch.setattr("harness.review.Run", lambda *args: None)
    monkeypatch.setattr("harness.review.fetch", fetch)
    job = Job(kernel="debian:7.3", series="v2.mbox")
    reviewer = Reviewer(Request(job, "v1.mbox"), tmp_path, Any)  # type: ignore[arg-type]
    found, why = reviewer._previous(Any, None)  # type: ignore[arg-type]
    assert found is None
    assert why == f"v1.mbox: {' '.join(error.lines())}"


def test_a_mistyped_previous_revision_is_told_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.review.Run", lambda *args: None)
    job = Job(kernel="debian:7.3", series="v2.mbox")
    reviewer = Reviewer(Request(job, str(tmp_path / "v1.mbxo")), tmp_path / "out", Any)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"v1\.mbxo"):
        reviewer.review()


@pytest.mark.parametrize("error", [InfraError("the list is silent"), PatchError("no patch in it")])
def test_one_that_cannot_be_read_now_stops_no_run(
    error: HarnessError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(spec: str) -> None:
        raise error

    monkeypatch.setattr("harness.review.Run", lambda *args: None)
    monkeypatch.setattr("harness.review.fetch", fetch)
    job = Job(kernel="debian:7.3", series="v2.mbox")
    assert Reviewer(Request(job, "v1.mbox"), tmp_path, Any)._named() is None  # type: ignore[arg-type]
