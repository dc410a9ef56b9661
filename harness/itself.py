# SPDX-License-Identifier: GPL-2.0-only
"""The harness's false alarms: a driver against itself, again and again, by the same way as every series.

OUT/run-<N>        a run of the quick suite on two lanes of one driver, everything asked anew
OUT/itself.jsonl   a line for each that ended
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from harness.errors import UsageError
from harness.host.recorder import Recorder
from harness.host.store import Store
from harness.job import Job
from harness.log import say, step
from harness.model.judge import Verdict
from harness.model.report import Report
from harness.score import FalseAlarms

RECORDS = "itself.jsonl"
Ask = Callable[[Job, Path], Report]


def job_of(job: Job) -> Job:
    """The same kernel as base and as head, and nothing taken over from an earlier answer."""
    if job.series or job.base or job.base_patch or job.real:
        raise UsageError("a kernel is compared with itself, without a series, on the emulated NPU", hint="mend the job")
    return job.model_copy(update={"base": job.kernel, "quick": True, "fresh": True, "twins": True})


def against_itself(job: Job, times: int, out: Path, store: Store, ask: Ask) -> FalseAlarms:
    """Run until ``times`` have ended in this folder; each new one goes into the tally that reports quote, and that is
    returned."""
    asked = job_of(job)
    out.mkdir(parents=True, exist_ok=True)
    records = Recorder(out / RECORDS)
    try:
        done = [event for event in records.events if event.get("event") == "ended"]
        tally = FalseAlarms.load(store)
        for number in range(len(done) + 1, times + 1):
            started = time.monotonic()
            with step(f"{number} of {times}: the driver against itself"):
                report = ask(asked, out / f"run-{number}")
            seconds = round(time.monotonic() - started, 1)
            reasons = list(report.judgement.reasons) if report.verdict is not Verdict.GOOD else []
            records.add(
                {"event": "ended", "run": number, "verdict": report.verdict, "reasons": reasons, "seconds": seconds}
            )
            for reason in reasons:
                say(f"{report.verdict}: {reason}")
            tally = FalseAlarms.load(store).plus(report.verdict, report.variant)
            tally.keep(store)
        return tally
    finally:
        records.close()
