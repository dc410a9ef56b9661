# SPDX-License-Identifier: GPL-2.0-only
"""Derive the report of a run from its records: ``xdna-harness report RUN`` makes it again at any time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from harness.checks.coverage import FILE as COVERAGE
from harness.errors import UsageError
from harness.formats import changes, gcov, lines
from harness.formats.events import load_events
from harness.formats.records import fold
from harness.host.data import data_folder
from harness.host.store import key_of
from harness.job import Job, command, read_known, read_toml
from harness.model.alone import judge_alone
from harness.model.blame import Culprit, Prefix, culprits, verdict
from harness.model.changed import ChangedFile
from harness.model.finding import Finding
from harness.model.judge import LaneResults, Verdict, judge
from harness.model.known import Hidden, KnownFailure, hide, mended
from harness.model.measures import numbers
from harness.model.memory import Held, held
from harness.model.proof import OwnLines, fail_to_pass
from harness.model.rate import Rate
from harness.model.report import LaneReport, PatchReport, Report
from harness.model.result import Result
from harness.plan import BASE, HEAD, PREFIX, WITHOUT

RUN_RECORDS = "run.jsonl"
LANE_RECORDS = "results.jsonl"


def known_failures() -> tuple[KnownFailure, ...]:
    """The project's own list, jobs/known.toml."""
    return read_known(data_folder("jobs") / "known.toml")


def visible(
    results: LaneResults, valid: Sequence[KnownFailure], shown: Collection[str] = ()
) -> tuple[LaneResults, dict[str, Any]]:
    """The lane with what is known taken out, and what was: test id to reasons. Tests in ``shown`` stay as they are."""
    hidden = [Hidden(r) if r.id in shown else hide(r, valid) for r in results.results]
    reasons = {h.result.id: h.known for h in hidden if h.known}
    return LaneResults(tuple(h.result for h in hidden), results.planned, results.broken), reasons


UNFINISHED = "the run is not over: what is missing was not asked yet, and says nothing"


def derive(run: Path, over: bool = False) -> Report:
    """The report of the run in folder ``run``. ``over``: all that it was to ask so far has been asked, also if it has
    not said so. Raises UsageError if it is no run or its records are damaged."""
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
    over = over or _is_over(events)
    if not over:
        results = {name: replace(lane, broken=True) for name, lane in results.items()}
    base, head = results.get(BASE), results.get(HEAD, LaneResults())
    judgement = judge(base, head) if base is not None else judge_alone(head)
    series = prefixes(job, events, results)
    found: tuple[Culprit, ...] = ()
    if base is not None and series:
        found = culprits(base, series, _without(events, results))
        judgement = verdict(judgement, found, base, series)
    if not over and judgement.verdict is Verdict.GOOD:
        judgement = replace(judgement, verdict=Verdict.UNKNOWN, reasons=(UNFINISHED,))
    about = last(events, "series")
    counted = _counted(run)
    table, own = _coverage(counted)
    score = last(events, "score")
    return Report(
        run=run,
        title=str(about.get("title") or job.series or f"kernel {job.kernel}"),
        judgement=judgement,
        lanes=lanes,
        variant=job.variant.name,
        facts={str(e["name"]): str(e["text"]) for e in events if e.get("event") == "fact"},
        notes=_notes(events, over),
        trailers=tuple(map(str, about.get("trailers", ()))),
        culprits=found,
        patches=_patches(job, events, results),
        coverage=table,
        own_lines=own if base is not None else None,
        numbers=numbers(base, head),
        proofs=fail_to_pass(base, series) if base is not None else {},
        key=_key(run, events),
        command=command(job),
        message_id=str(about.get("message_id") or "").strip("<>"),
        changed=_changed(run, counted),
        memory=_memory(run, job, lanes),
        score=Rate(int(score.get("caught", 0)), int(score.get("counted", 0))),
        false_alarms=Rate(int(score.get("bad", 0)), int(score.get("runs", 0))),
    )


def _is_over(events: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the last process that worked on it got to its end, which it says last."""
    facts = [str(event["name"]) for event in events if event.get("event") == "fact"]
    return "seconds" in facts[len(facts) - facts[::-1].index("begun") :] if "begun" in facts else True


def _notes(events: Iterable[Mapping[str, Any]], over: bool) -> tuple[str, ...]:
    said = [str(event["text"]) for event in events if event.get("event") == "note"]
    return tuple(dict.fromkeys(said if over else [UNFINISHED, *said]))


def _key(run: Path, events: Iterable[Mapping[str, Any]]) -> str:
    """The job as it was asked, and what was built for each of its lanes."""
    built = {str(e["name"]): [e.get("kernel", ""), e.get("digest", "")] for e in events if e.get("event") == "lane"}
    return key_of(job=(run / "job.toml").read_text(), lanes=built)


Counted = tuple[gcov.Coverage, list[str], gcov.Added]


def _counted(run: Path) -> Counted | None:
    path = run / COVERAGE
    return gcov.load(path.read_text()) if path.exists() else None


def _coverage(counted: Counted | None) -> tuple[tuple[str, ...], OwnLines | None]:
    """The table, and how much of what the series adds was run."""
    if counted is None:
        return (), None
    counts, lost, new = counted
    ran, lines = gcov.own_lines(counts, new)
    return tuple(gcov.describe(counts, lost, new)), OwnLines(ran, lines) if lines else None


def _changed(run: Path, counted: Counted | None) -> tuple[ChangedFile, ...]:
    path = run / changes.FILE
    if not path.exists():
        return ()
    try:
        return changes.read(path.read_bytes().decode(errors="surrogateescape"), counted[0] if counted else None)
    except ValueError as error:
        raise UsageError(f"{path} is damaged: {error}", hint="delete it: the report is made without") from error


def _memory(run: Path, job: Job, lanes: Iterable[str]) -> dict[str, tuple[Held, ...]]:
    found = {name: held(load_events(run / name / job.variant.name / LANE_RECORDS)) for name in lanes}
    return {name: tests for name, tests in found.items() if tests}


def lane_results(run: Path, job: Job) -> tuple[dict[str, LaneResults], list[Prefix]]:
    """What each lane has answered so far, known failures taken out; and the prefixes of a series that is tested patch
    by patch."""
    events = load_events(run / RUN_RECORDS)
    _, results = _lanes(run, job, events)
    return results, prefixes(job, events, results)


def prefixes(job: Job, events: Iterable[Mapping[str, Any]], results: Mapping[str, LaneResults]) -> list[Prefix]:
    """The prefixes of the series in order; none unless the job asks for them."""
    if not job.per_patch:
        return []
    return [
        Prefix(int(about["patch"]), str(about["title"]), results[name])
        for name, about in _series_lanes(events).items()
        if name in results
    ]


def _series_lanes(events: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """What was last said of each prefix, by lane, in order of the patches."""
    said = {str(e["name"]): e for e in events if e.get("event") == "lane" and e.get("patch")}
    named = {name: about for name, about in said.items() if name == HEAD or name.startswith(PREFIX)}
    return dict(sorted(named.items(), key=lambda entry: int(entry[1]["patch"])))


def _without(events: Iterable[Mapping[str, Any]], results: Mapping[str, LaneResults]) -> dict[int, LaneResults | str]:
    """The series without patch K, or why there is none."""
    found: dict[int, LaneResults | str] = {
        int(e["patch"]): str(e["text"]) for e in events if e.get("event") == "not-taken-out"
    }
    for name, lane in results.items():
        if name.startswith(WITHOUT):
            found.setdefault(int(name.removeprefix(WITHOUT)), lane)
    return found


def _patches(
    job: Job, events: Iterable[Mapping[str, Any]], results: Mapping[str, LaneResults]
) -> tuple[PatchReport, ...]:
    events = list(events)
    if not job.per_patch:
        return ()
    base: Mapping[str, Any] = next(
        (e for e in reversed(events) if e.get("event") == "lane" and e.get("name") == BASE), {}
    )
    before = set(map(str, base.get("warnings", ())))
    found = []
    for name, about in _series_lanes(events).items():
        warnings = tuple(map(str, about.get("warnings", ())))
        answers = results[name].results if name in results else ()
        outcomes = Counter(r.outcome.value for r in answers if r.attempt == 1 and not r.is_stage)
        how = str(about.get("how") or about.get("kernel", ""))
        new = tuple(w for w in warnings if w not in before)
        seconds = float(about.get("seconds", 0))
        found.append(PatchReport(int(about["patch"]), str(about["title"]), how, seconds, new, outcomes))
        if about.get("kernel"):
            before = set(warnings)
    return tuple(found)


def last(events: Iterable[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    """The last event of this name; empty if there is none."""
    found: Mapping[str, Any] = {}
    for event in events:
        if event.get("event") == name:
            found = event
    return found


def _lanes(run: Path, job: Job, events: list[dict[str, Any]]) -> tuple[dict[str, LaneReport], dict[str, LaneResults]]:
    """Every lane that the plan named, also one that left no record."""
    variant = job.variant.name
    named = {str(e["name"]): e for e in events if e.get("event") == "lane"}
    raw = {name: fold(load_events(run / name / variant / LANE_RECORDS)) for name in named}
    known, today = known_failures(), date.today()
    valid = {name: [k for k in known if k.covers(str(e["version"]), variant, today)] for name, e in named.items()}
    # What passes on head although it is known to fail is shown as it is on base: then the series has mended it.
    passing = mended(raw[HEAD].results, valid[HEAD]) if HEAD in named else []
    lanes: dict[str, LaneReport] = {}
    results: dict[str, LaneResults] = {}
    for name, event in named.items():
        results[name], reasons = visible(raw[name], valid[name], passing)
        gone = tuple(passing) if name == HEAD else ()
        known_lines = _lines(run / name)
        results[name] = replace(results[name], results=with_lines(results[name].results, known_lines))
        answers = with_lines(raw[name].results, known_lines)
        lanes[name] = LaneReport(name, str(event.get("kernel", "")), answers, reasons, gone, _consoles(run / name))
    return lanes, results


def _consoles(lane: Path) -> dict[int, Path]:
    """Of each guest, by its number."""
    found = {path.parent.name.partition("-")[2]: path for path in lane.glob("*/boot-*/console.log")}
    return {int(number): path for number, path in found.items() if number.isdecimal()}


def _lines(lane: Path) -> lines.Lines:
    path = lane / lines.FILE
    return lines.load(path.read_text()) if path.exists() else {}


def with_lines(results: Iterable[Result], known: lines.Lines) -> tuple[Result, ...]:
    """The results with file and line behind each frame of their splats, as far as they are known."""
    return tuple(
        replace(
            result,
            evidence=lines.annotated(result.evidence, known),
            findings=tuple(_with_lines(finding, known) for finding in result.findings),
        )
        for result in results
    )


def _with_lines(finding: Finding, known: lines.Lines) -> Finding:
    frames = tuple((frame, tuple(known.get(frame, ()))) for frame in lines.frames_in(finding.text))
    return replace(finding, text=lines.annotated(finding.text, known), lines=frames)
