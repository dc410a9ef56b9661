# SPDX-License-Identifier: GPL-2.0-only
"""A report out of records: what is known to fail, on one lane and on two."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from harness import answers, repeat
from harness import report as reports
from harness.errors import InfraError, UsageError
from harness.formats import changes, gcov, lines
from harness.job import Job, write_job
from harness.model.changed import Ran
from harness.model.frame import Frame, Place
from harness.model.judge import Change, Verdict
from harness.model.kernel import Profile
from harness.model.known import KnownFailure
from harness.model.memory import Held
from harness.model.rate import Rate
from harness.model.report import Report
from harness.model.result import Outcome
from harness.model.variant import Variant
from harness.plan import Cell
from harness.reporters import data, junit, text, write
from harness.run import Run
from tests.unit.scripted_lab import CELL, TESTS, Lab, lane, outcomes

A, B = "test_x.py::test_a", "test_x.py::test_b"
KNOWN = KnownFailure("posted fix", ("7.3.*",), date(2099, 1, 1), test=A)


def report(folder: Path, monkeypatch: pytest.MonkeyPatch, **lanes: Mapping[str, str]) -> Report:
    """The report of a run with these lanes: test to outcome, "lost" for one that never reported."""
    monkeypatch.setattr(reports, "known_failures", lambda: (KNOWN,))
    job = Job(kernel="debian:7.3")
    (folder / "job.toml").write_text(write_job(job))
    run = [{"event": "lane", "name": name, "version": "7.3.4", "kernel": "k"} for name in lanes]
    (folder / "run.jsonl").write_text("".join(json.dumps(event) + "\n" for event in run))
    for name, said in lanes.items():
        events = [{"event": "suite-start", "boot": 1, "attempt": 1, "tests": list(said)}]
        for test, outcome in said.items():
            place = {"boot": 1, "attempt": 1, "id": test}
            events.append({"event": "test-start", **place})
            end = {"event": "test-end", "outcome": outcome, "phase": "call", "text": "", "duration": 0.1}
            lost = {"event": "lost", "outcome": "LOST", "evidence": "panic", "console": ""}
            events.append({**(lost if outcome == "lost" else end), **place})
        where = folder / name / job.variant.name
        where.mkdir(parents=True)
        (where / "results.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return reports.derive(folder)


def test_alone_what_is_known_is_good_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = report(tmp_path, monkeypatch, head={A: "fail", B: "pass"})
    assert (found.verdict, found.known, found.mended) == (Verdict.GOOD, {A: ("posted fix",)}, [])


def test_alone_what_is_known_and_passes_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = report(tmp_path, monkeypatch, head={A: "pass", B: "pass"})
    assert (found.verdict, found.known, found.mended) == (Verdict.GOOD, {}, [A])


def test_a_series_that_mends_what_is_known_fixes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = report(tmp_path, monkeypatch, base={A: "fail", B: "pass"}, head={A: "pass", B: "pass"})
    assert (found.ids(Change.FIXED), found.mended) == ([A], [A])


def test_known_on_both_lanes_is_neither_fixed_nor_worse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = report(tmp_path, monkeypatch, base={A: "fail", B: "pass"}, head={A: "fail", B: "pass"})
    assert (found.verdict, found.ids(Change.FIXED), found.mended) == (Verdict.GOOD, [], [])


def test_known_to_fail_does_not_excuse_a_panic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = report(tmp_path, monkeypatch, base={A: "fail", B: "pass"}, head={A: "lost", B: "pass"})
    assert found.ids(Change.SUSPECT) == [A]


SPLAT = """\
------------[ cut here ]------------
WARNING: amdxdna_ubuf.c:99 at amdxdna_get_ubuf+0x2f/0x80 [amdxdna], CPU#0: python3/312
Modules linked in: amdxdna
RIP: 0010:amdxdna_get_ubuf+0x2f/0x80 [amdxdna]
Code: 0f 0b
Call Trace:
 <TASK>
 amdxdna_gem_obj_open+0x1f/0x80 [amdxdna]
 </TASK>
---[ end trace 0000000000000000 ]---
"""
OPEN = Frame("amdxdna_gem_obj_open", 0x1F, 0x80, "amdxdna")
WHERE = "drivers/accel/amdxdna/amdxdna_gem.c:123"


@pytest.mark.parametrize("hidden", [False, True])
def test_lines_are_shown_and_change_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hidden: bool) -> None:
    report(tmp_path, monkeypatch, base={B: "pass"}, head={B: "pass"})
    path = next((tmp_path / "head").glob("*/results.jsonl"))
    events = [json.loads(line) for line in path.read_text().splitlines()]
    events[-1]["kmsg"] = [{"text": line, "level": 4} for line in SPLAT.splitlines()]
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    mark = "WARNING:amdxdna_get_ubuf:amdxdna_gem_obj_open"
    entry = KnownFailure("size is not checked", ("7.3.*",), date(2099, 1, 1), fingerprint=mark)
    entry = replace(entry, says=("amdxdna_gem_obj_open+0x1f/0x80 [amdxdna]\n",))  # what the kernel said, no more
    monkeypatch.setattr(reports, "known_failures", lambda: (entry,) if hidden else ())
    before = reports.derive(tmp_path)
    place = Place(OPEN.function, WHERE.partition(":")[0], 123)
    (tmp_path / "head" / lines.FILE).write_text(lines.dump({OPEN: (place,)}))
    found = reports.derive(tmp_path)
    assert found.verdict is before.verdict is (Verdict.GOOD if hidden else Verdict.UNKNOWN)
    shown = f" amdxdna_gem_obj_open+0x1f/0x80 [amdxdna] ({WHERE})\n"
    assert shown in junit.render(found)
    assert (shown in text.render(found)) is not hidden
    assert WHERE not in text.render(before) + junit.render(before)
    answers = json.loads(data.render(found))["lanes"]["head"]["results"]
    (finding,) = next(r["findings"] for r in answers if r["id"] == B)
    assert finding["fingerprint"] == mark
    assert finding["frames"] == [
        {"frame": "amdxdna_get_ubuf+0x2f/0x80 [amdxdna]", "at": []},
        {"frame": str(OPEN), "at": [vars(place)]},
    ]


def test_what_the_page_draws_is_derived_from_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = report(tmp_path, monkeypatch, head={A: "pass"})
    assert (found.changed, found.memory, found.score, found.false_alarms) == ((), {}, Rate(0, 0), Rate(0, 0))
    name = "drivers/accel/amdxdna/a.c"
    (tmp_path / "series.diff").write_text(changes.difference({name: "one\n"}, {name: "two\nthree\n"}))
    (tmp_path / "coverage.json").write_text(gcov.dump({name: gcov.FileCounts({1: 1, 2: 0})}))
    score = {"event": "score", "caught": 9, "counted": 10, "bad": 1, "runs": 100}
    with (tmp_path / "run.jsonl").open("a") as records:
        records.write(json.dumps(score) + "\n")
    lane = next((tmp_path / "head").glob("*/results.jsonl"))
    events = [json.loads(line) for line in lane.read_text().splitlines()]
    shared = {"before": {"meminfo.Shmem": 1}, "after": {"meminfo.Shmem": 3}}
    events[-1] |= {"counters": shared, "outside": {"npu.contexts": 0, "npu.heap": 64, "npu.chunks": 1}}
    lane.write_text("".join(json.dumps(event) + "\n" for event in events))
    found = reports.derive(tmp_path)
    assert (found.score, found.false_alarms) == (Rate(9, 10), Rate(1, 100))
    assert [line.ran for line in found.changed[0].hunks[0] if line.mark == "+"] == [Ran.RAN, Ran.NEVER]
    assert found.memory == {"head": (Held(A, 0.1, 64, 1, 2, None),)}


def test_a_damaged_diff_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report(tmp_path, monkeypatch, head={A: "pass"})
    (tmp_path / "series.diff").write_text("what?\n")
    with pytest.raises(UsageError, match=r"series\.diff is damaged"):
        reports.derive(tmp_path)


def test_what_is_missing_from_a_run_that_is_not_over_is_no_regression(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = report(tmp_path, monkeypatch, base={A: "pass", B: "pass"}, head={A: "pass"})
    assert found.judgement.verdict is Verdict.BAD
    begun = {"event": "fact", "name": "begun", "text": "today"}
    over = {"event": "fact", "name": "seconds", "text": "9"}
    for more, verdict in (([begun], Verdict.UNKNOWN), ([over], Verdict.BAD), ([begun], Verdict.UNKNOWN)):
        with (tmp_path / "run.jsonl").open("a") as stream:
            stream.writelines(json.dumps(event) + "\n" for event in more)
        found = reports.derive(tmp_path)
        assert found.judgement.verdict is verdict
        assert (reports.UNFINISHED in found.notes) is (verdict is Verdict.UNKNOWN)


def test_a_run_that_is_not_over_is_not_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of tests that never began have announced nothing that could be missing."""
    assert report(tmp_path, monkeypatch, base={A: "pass"}, head={A: "pass"}).verdict is Verdict.GOOD
    with (tmp_path / "run.jsonl").open("a") as stream:
        stream.write(json.dumps({"event": "fact", "name": "begun", "text": "today"}) + "\n")
    found = reports.derive(tmp_path)
    assert (found.verdict, found.judgement.reasons) == (Verdict.UNKNOWN, (reports.UNFINISHED,))
    assert reports.derive(tmp_path, over=True).verdict is Verdict.GOOD


def test_what_was_cut_off_while_it_was_asked_again_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ERROR is an answer for the judge: nothing else would ask it any more."""
    report(tmp_path, monkeypatch, base={A: "pass", B: "pass"}, head={A: "pass", B: "fail"})
    where = next((tmp_path / "head").glob("*/results.jsonl"))
    place = {"boot": 2, "attempt": 2}
    events: list[dict[str, object]] = [{"event": "boot", **place}, {"event": "suite-start", "tests": [B], **place}]
    events += [
        {"event": "test-start", "id": B, **place},
        {"event": "unlooked", "attempt": 2, "group": "", "why": "npu"},
    ]
    with where.open("a") as stream:
        stream.writelines(json.dumps(event) + "\n" for event in events)
    job = Job(kernel="debian:7.3")
    lanes = {name: SimpleNamespace(reused=False) for name in ("base", "head")}
    run = cast(Run, SimpleNamespace(out=tmp_path, job=job, lanes=lanes))
    assert repeat._cut_off(run) == [Cell("head", job.variant, 2, (B,), look=False)]


def test_what_a_twin_took_over_spoiled_is_asked_of_itself(tmp_path: Path) -> None:
    """All else that it has is good; with kmemleak, which must have looked at what it is asked."""
    npu = lane(Lab(lambda test: "npu" if test == TESTS[1] else "pass"), tmp_path / "first", kmemleak=True)
    npu.run(CELL)
    asked: list[str] = []
    twin = lane(Lab(lambda test: asked.append(test) or "pass"), tmp_path / "twin", kmemleak=True)  # type: ignore[func-returns-value]
    twin.reuse(answers.kept(npu.events, 1), "first")
    todo = SimpleNamespace(cells=(CELL, replace(CELL, lane="base")))
    run = cast(Run, SimpleNamespace(todo=todo, lanes={"base": npu, "head": twin}))
    assert repeat._taken_over(run) == [CELL]
    twin.run(CELL)
    assert asked[0] == TESTS[1]
    assert not twin.results().broken
    assert twin.answered([CELL]), "looked at, too"
    assert repeat._taken_over(run) == []


def test_what_kmemleak_did_not_get_to_look_at_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a repetition, by who goes on with the run."""
    run = lane(Lab(lambda test: "leak" if test == TESTS[1] else "pass"), tmp_path / "head" / "v", kmemleak=True)
    run.run(CELL)
    dying = Cell("head", Variant(), 2, (TESTS[1],))
    answered: list[str] = []

    def npu_goes(test: str) -> str:
        answered.append(test)
        return "pass" if len(answered) == 1 else "npu"

    cast(Lab, run.guests).behave = npu_goes
    run.run(dying)
    assert outcomes(run)["kmemleak/suite"] is Outcome.ERROR
    job = Job(kernel="debian:7.3", kmemleak=True, profile=Profile.DEBUG)
    monkeypatch.setattr(repeat, "lane_results", lambda out, job: ({"head": run.results()}, []))
    whole = cast(Run, SimpleNamespace(out=tmp_path, job=job, lanes={"head": run}))
    (cell,) = repeat._unlooked(whole)
    assert (cell.attempt, cell.tests, cell.look) == (2, (TESTS[1],), True)
    cast(Lab, run.guests).behave = lambda test: "pass"
    run.run(cell)
    assert "kmemleak/suite" not in outcomes(run)
    assert repeat._unlooked(whole) == []


def test_a_report_on_a_full_disk_is_the_labs_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = report(tmp_path, monkeypatch, head={A: "pass"})
    (tmp_path / "report.json").mkdir()
    with pytest.raises(InfraError, match=r"cannot write .*report\.json") as caught:
        write(found)
    assert f"xdna-harness report {tmp_path}" in caught.value.hint
