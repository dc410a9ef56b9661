# SPDX-License-Identifier: GPL-2.0-only
"""What goes wrong beside the run of a review is part of the review; a slip of the keyboard is told before it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError, InfraError, PatchError, UsageError
from harness.job import Job
from harness.review import Request, Reviewer

JOB = Job(kernel="debian:7.3", series="v2.mbox")
Make = Callable[..., Reviewer]


@pytest.fixture
def reviewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A review without a run, of which the previous revision is named; ``error`` is what comes of reading that."""

    def make(previous: str, error: HarnessError | None = None) -> Reviewer:
        def fetch(spec: str) -> None:
            assert error is not None
            raise error

        monkeypatch.setattr("harness.review.Run", lambda *args: None)
        if error is not None:
            monkeypatch.setattr("harness.review.fetch", fetch)
        return Reviewer(Request(JOB, previous), tmp_path / "out", Any)  # type: ignore[arg-type]

    return make


@pytest.mark.parametrize("error", [UsageError("no such file", hint="look"), PatchError("no patch in it")])
def test_a_previous_revision_that_cannot_be_read_costs_no_review(error: HarnessError, reviewer: Make) -> None:
    found, why = reviewer("v1.mbox", error)._previous(Any, None)  # type: ignore[arg-type]
    assert found is None
    assert why == f"v1.mbox: {' '.join(error.lines())}"


def test_a_mistyped_previous_revision_is_told_before_the_run(tmp_path: Path, reviewer: Make) -> None:
    with pytest.raises(UsageError, match=r"v1\.mbxo"):
        reviewer(str(tmp_path / "v1.mbxo")).review()


@pytest.mark.parametrize("error", [InfraError("the list is silent"), PatchError("no patch in it")])
def test_one_that_cannot_be_read_now_stops_no_run(error: HarnessError, reviewer: Make) -> None:
    assert reviewer("v1.mbox", error)._named() is None
