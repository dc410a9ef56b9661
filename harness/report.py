# SPDX-License-Identifier: GPL-2.0-only
"""Derive the report of a run from its records: ``xdna-harness report RUN`` makes it again at any time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.formats.records import fold, load_events
from harness.host.data import data_folder
from harness.job import Job, read_known, read_toml
from harness.model.judge import LaneResults, judge, judge_alone
from harness.model.known import KnownFailure, hide
from harness.model.report import LaneReport, Report
from harness.plan import BASE, HEAD

RUN_RECORDS = "run.jsonl"
LANE_RECORDS = "results.jsonl"


def known_failures() -> tuple[KnownFailure, ...]:
    """The project's own list, jobs/known.toml."""
    return read_known(data_folder("jobs") / "known.toml")


def visible(results: LaneResults, known: Iterable[KnownFailure], version: str) -> tuple[LaneResults, dict[str, Any]]:
    """The lane with what is known taken out, and what was: test id to reasons."""
    entries, today = tuple(known), date.today()
    hidden = [hide(result, entries, version, today) for result in results.results]
    reasons = {h.result.id: h.known for h in hidden if h.known}
    return LaneResults(tuple(h.result for h in hidden), results.planned, results.broken), reasons


def derive(run: Path) -> Report:
    """The report of the run in folder ``run``. Raises UsageError if it is no run or its records are damaged."""
    if not (run / "job.toml").exists():
        raise UsageError(f"{run} is not a run: it has no job.toml", hint="name the folder that 'run' printed")
    job = read_toml(run / "job.toml", Job)
    try:
        events = load_events(run / RUN_RECORDS)
        lanes, results = _lanes(run, job, events)
    except (ValueError, KeyError) as error:
        raise UsageError(
            f"the records of {run} are damaged: {error}", hint="run it again with another --out"
        ) from error
    base, head = results.get(BASE), results.get(HEAD, LaneResults())
    judgement = judge(base, head) if base is not None else judge_alone(head)
    about = _last(events, "series")
    return Report(
        run=run,
        title=str(about.get("title") or job.series or f"kernel {job.kernel}"),
        judgement=judgement,
        lanes=lanes,
        variant=job.variant.name,
        facts={str(e["name"]): str(e["text"]) for e in events if e.get("event") == "fact"},
        notes=tuple(dict.fromkeys(str(e["text"]) for e in events if e.get("event") == "note")),
        trailers=tuple(map(str, about.get("trailers", ()))),
    )


def _last(events: Iterable[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = {}
    for event in events:
        if event.get("event") == name:
            found = event
    return found


def _lanes(run: Path, job: Job, events: list[dict[str, Any]]) -> tuple[dict[str, LaneReport], dict[str, LaneResults]]:
    """Every lane that the plan named, also one that left no record."""
    known = known_failures()
    lanes: dict[str, LaneReport] = {}
    results: dict[str, LaneResults] = {}
    for event in events:
        if event.get("event") != "lane":
            continue
        name, version = str(event["name"]), str(event["version"])
        raw = fold(load_events(run / name / job.variant.name / LANE_RECORDS))
        results[name], reasons = visible(raw, known, version)
        lanes[name] = LaneReport(name, str(event.get("kernel", "")), raw.results, reasons)
    return lanes, results
