# SPDX-License-Identifier: GPL-2.0-only
"""What 'repro' asks: found in a run's records, asked in guests that start as the failing one did."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.job import Job, write_job
from harness.model.result import Outcome, Result
from harness.model.session import Lost, Session, SessionLost, Start
from harness.report import derive
from harness.reporters import FORMS
from harness.repro import read, status
from harness.shell import line_shell

A, B = "test_x.py::test_a", "test_x.py::test_b[1]"


def _write(path: Path, events: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(event) + "\n" for event in events))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose second guest, a restored kernel, saw B fail behind A."""
    job = Job(kernel="debian:7.3")
    folder = tmp_path / "it's a run"
    _write(folder / "run.jsonl", [{"event": "lane", "name": "head", "version": "7.3.4", "kernel": "k", "digest": "d"}])
    (folder / "job.toml").write_text(write_job(job))
    events: list[dict[str, Any]] = []
    for boot, start, outcome in ((1, "driver", "pass"), (2, "kernel", "fail")):
        place = {"boot": boot, "attempt": boot}
        events += [{"event": "boot", "start": start, **place}, {"event": "suite-start", "tests": [A, B], **place}]
        for test, said in ((A, "pass"), (B, outcome)):
            events.append({"event": "test-start", "id": test, **place})
            events.append({"event": "test-end", "id": test, "outcome": said, "text": "", "duration": 0.1, **place})
        events.append({"event": "suite-end", **place})
    _write(folder / "head" / job.variant.name / "results.jsonl", events)
    return folder


def test_the_guest_that_failed_is_the_one_to_repeat(run: Path) -> None:
    question = read(run, "test_b")
    assert (question.test, question.start, question.before) == (B, Start.KERNEL, (A,))
    assert question.built == ("k", "d")
    assert read(run, "test_a").start is Start.DRIVER  # it passed wherever it was asked


@pytest.mark.parametrize(
    ("part", "lane", "said"),
    [("test_", "head", "means 2 tests"), ("no", "head", "is no test that head"), ("test_b", "base", "no lane base")],
)
def test_what_is_not_one_test_is_said(run: Path, part: str, lane: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read(run, part, lane)


def test_the_exit_status_says_failed_before_trouble() -> None:
    said = {o: Result("t", o) for o in Outcome}
    assert status([said[Outcome.PASS], said[Outcome.ERROR], said[Outcome.LOST]]) == 1
    assert status([said[Outcome.PASS], said[Outcome.ERROR]]) == 3
    assert status([said[Outcome.PASS], said[Outcome.SKIP]]) == 0
    assert status([]) == 3


@pytest.mark.parametrize("form", ["text", "json", "junit", "ktap", "markdown", "b4", "kcidb", "reply"])
def test_every_report_says_how_to_ask_a_failure_again(run: Path, form: str) -> None:
    records = run / "head" / Job(kernel="debian:7.3").variant.name / "results.jsonl"
    records.write_text(records.read_text().replace('"outcome": "pass"', '"outcome": "fail"'))
    said = FORMS[form](derive(run))
    elsewhere = form in ("kcidb", "reply")  # who reads these has not the run's folder
    assert ("xdna-harness run --kernel debian:7.3 -k" if elsewhere else "xdna-harness repro ") in said
    assert not elsewhere or str(run) not in said


class Guest:
    """Answers each line as bash would, and ends at "die"."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def run(self, argv: Sequence[str], timeout: float = 60.0) -> tuple[int, str]:
        folder, line = argv[-2:]
        self.lines.append((folder, line))
        if line == "die":
            raise SessionLost(Lost(False, "panic", ""))
        return 0, f"evil \x1b[31m\n\n{'/tmp' if line == 'cd /tmp' else folder}"


def test_the_shell_keeps_its_folder_and_shows_nothing_raw(capsys: pytest.CaptureFixture[str]) -> None:
    guest: Any = Guest()
    lines = iter(["", "cd /tmp", "ls", "die", "never"])
    session: Session = guest
    line_shell(session, lambda prompt: next(lines))
    assert guest.lines == [("/run/xdna", "cd /tmp"), ("/tmp", "ls"), ("/tmp", "die")]
    out = capsys.readouterr()
    assert "evil \\x1b[31m" in out.out
    assert "\x1b[31m" not in out.out
    assert "the guest is gone: panic" in out.err
