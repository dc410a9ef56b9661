# SPDX-License-Identifier: GPL-2.0-only
"""What a night came to, for a person and for programs: what changed since the last one comes first. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from harness.log import printable
from harness.model.night import Came, Entry, Told

SHOWN = 30


def headline(came: Came) -> str:
    """One line: what changed since last night."""
    counts = {
        "new failure": sum(len(told.news.worse) for told in came.runs),
        "fixed": sum(len(told.news.fixed) for told in came.runs),
        "new flaky": sum(len(told.news.flaky) for told in came.runs),
        "without an answer": sum(told.trouble for told in came.runs),
    }
    said = [f"{n} {word}{'s' if n > 1 and word == 'new failure' else ''}" for word, n in counts.items() if n]
    done = sum(told.run.state == "done" for told in came.runs)
    since = "the first night" if all(told.first for told in came.runs) else "since last night"
    still = sum(len(told.news.still) for told in came.runs)
    rest = f"{done} of {len(came.runs)} runs" + (f", {still} still failing" if still else "")
    return f"{since}: {', '.join(said) or 'nothing changed'} ({rest})"


def text(came: Came) -> str:
    """The headline, then each change with the line that asks it again, then the runs."""
    lines = [headline(came)]
    for title, name in (("new failures", "worse"), ("new flaky", "flaky"), ("fixed", "fixed"), ("still", "still")):
        rows = [(told, test) for told in came.runs for test in getattr(told.news, name)]
        if rows:
            lines += ["", f"{title}: {len(rows)}"]
            for told, test in rows[:SHOWN]:
                lines.append(f"  {test}  [{told.run.title}]")
                lines += [f"    again: {told.again[test]}"] if test in told.again else []
            lines += [f"  and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []
    for night in sorted({told.run.night for told in came.runs} | {came.night}):
        note = "" if night == came.night else ", which was cut off"
        lines += ["", f"night {night}{note}:", *_runs(told for told in came.runs if told.run.night == night)]
    return printable("\n".join(lines)) + "\n"


def _runs(runs: Iterable[Told]) -> Iterator[str]:
    for told in runs:
        run = told.run
        took = f"{run.seconds:.0f} s" if run.seconds else "-"
        left = "trouble" if told.given_up else "not asked: out of time"
        state = run.verdict if run.state == "done" else {"left": left}.get(run.state, run.state)
        said = run.said or ("not all tests could be asked" if told.partial else "")
        yield f"  {state:8} {took:>7}  {run.title} ({run.why})" + (f": {said}" if said else "")


def data(came: Came) -> str:
    """``night``, ``headline``, ``exit_status``, and ``runs``: night, title, job, why it was asked when it was, state,
    verdict, kernel, seconds, folder, said (the trouble), and lists of test ids: worse, fixed, flaky, still; ``again``
    by id."""
    found = {
        "night": came.night,
        "headline": headline(came),
        "exit_status": came.exit_status,
        "runs": [_run(told) for told in came.runs],
    }
    return json.dumps(found, indent=1) + "\n"


def _run(told: Told) -> dict[str, object]:
    run = told.run
    names = ("night", "title", "job", "why", "state", "verdict", "kernel", "seconds", "folder", "said")
    news = {name: list(getattr(told.news, name)) for name in ("worse", "fixed", "flaky", "still")}
    when = datetime.fromtimestamp(run.started).isoformat(timespec="seconds") if run.started else None
    return {**{name: getattr(run, name) for name in names}, "started": when, **news, "again": dict(told.again)}


def plan(entries: Sequence[Entry], as_json: bool) -> str:
    """What would be asked, in which order, and why."""
    if as_json:
        rows = [{"title": e.title, "key": e.key, "why": e.why, "seconds": e.past.seconds} for e in entries]
        return json.dumps(rows, indent=1) + "\n"
    took = [f"{entry.past.seconds:.0f} s" if entry.past.seconds else "?" for entry in entries]
    return "".join(f"{cost:>7}  {e.title} ({e.why})\n" for e, cost in zip(entries, took, strict=True))
