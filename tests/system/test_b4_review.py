# SPDX-License-Identifier: GPL-2.0-only
"""``b4 review`` itself runs us as a check command, and takes what we print for what it is."""

from __future__ import annotations

import email
import shlex
import sys
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from conftest import KERNEL, Edit, Harness, Plant

DRIVER = "drivers/accel/amdxdna"
HARMLESS = Edit(f"{DRIVER}/amdxdna_gem.c", r"client->heap_usage -= abo->mem\.size;", r"\g<0>\n\t/* as before */")
FORGOTTEN = Edit(f"{DRIVER}/amdxdna_gem.c", r"client->heap_usage -= abo->mem\.size;", ";")
TEST = "test_e18_accounting"


def checked(mail: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What b4 shows of its series check, for the first mail of a file."""
    checks: Any = pytest.importorskip("b4.review.checks")
    message = email.message_from_bytes(mail.read_bytes(), EmailMessage, policy=default)
    command = shlex.join([sys.executable, "-m", "harness.cli", "report", "-", "--format", "b4", "--runs", str(runs)])
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    found: list[dict[str, Any]] = checks.run_series_checks(("cover@x", message), [command], str(runs))
    return found


@pytest.mark.parametrize(("edit", "status"), [(HARMLESS, "pass"), (FORGOTTEN, "fail")], ids=["good", "bad"])
def test_b4_review_shows_the_verdict(
    harness: Harness, plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: Edit, status: str
) -> None:
    mail = plant("a change", edit)
    ran = harness("run", mail, "--kernel", KERNEL, "-k", TEST)
    (check,) = checked(mail, ran.out.parent, monkeypatch)
    assert (check["tool"], check["status"]) == ("xdna-harness", status), check
    assert (TEST in check["summary"]) == (status == "fail")
    assert ran.stdout.splitlines()[0] in check["details"]


def test_a_series_that_was_not_tested_has_not_failed(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (check,) = checked(plant("a change", HARMLESS), tmp_path, monkeypatch)
    assert check["status"] == "warn"
    assert check["summary"].startswith("not tested: no run of this series")
