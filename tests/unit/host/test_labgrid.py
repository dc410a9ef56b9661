# SPDX-License-Identifier: GPL-2.0-only
"""A place of labgrid that is not released: with a client of ours that does as it is told."""

from __future__ import annotations

from typing import Any

import pytest

from harness.host import labgrid, proc
from harness.host.proc import CommandTimeout, Completed
from harness.model.session import Lost, SessionLost


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was said; the coordinator answers to acquire only."""

    def run(argv: list[str], **how: Any) -> Completed:
        if argv[-1] == "release":
            raise CommandTimeout(how["what"], how["timeout"], None)
        return Completed(tuple(argv), 0, "", "")

    said: list[str] = []
    monkeypatch.setattr(labgrid, "_program", lambda: "labgrid-client")
    monkeypatch.setattr(proc, "run", run)
    monkeypatch.setattr(labgrid, "warn", said.append)
    return said


def test_a_release_that_takes_too_long_does_not_end_the_run(told: list[str]) -> None:
    with labgrid.place("box", 0.0):
        pass
    (said,) = told
    assert said.startswith("the labgrid place box was not released: labgrid-client release did not end within 60 s")
    assert "labgrid-client -p box release" in said


def test_nor_does_it_replace_what_happened(told: list[str]) -> None:
    with pytest.raises(SessionLost, match="gone"):
        with labgrid.place("box", 0.0):
            raise SessionLost(Lost(False, "gone", ""))
    assert len(told) == 1
