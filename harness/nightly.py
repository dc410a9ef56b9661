# SPDX-License-Identifier: GPL-2.0-only
"""``xdna-harness nightly``: the jobs of a matrix, the most valuable first, as long as the night lasts.

    STATE/history.sqlite            what every night came to
    STATE/night-0001/01-<key>/      a run; again-<n>/ beside it: a new failure, asked again

Killed at any moment, the next start goes on where it stopped: a run in its folder, the night in its plan.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.answers import suite_key
from harness.errors import HarnessError, InfraError
from harness.host import sources
from harness.host.nights import Night, Nights
from harness.host.store import Store, key_of
from harness.job import Job, parse_toml, write_job
from harness.lab import npu_code
from harness.log import say, step, warn
from harness.matrix import Matrix, title
from harness.model.again import repro
from harness.model.judge import Change
from harness.model.night import (
    BAD,
    GUESS,
    Answer,
    Came,
    Entry,
    NightRun,
    Told,
    answer,
    expired,
    fitting,
    news,
    ordered,
    partial,
)
from harness.model.report import Report
from harness.model.result import Outcome, Result

MOST_TRIES = 3
"""A run that was cut off so often ends the harness, and is left alone."""
STALE_SECONDS = 18 * 3600.0
"""A night that was cut off so long ago is over: its interrupted run is finished, the rest belongs to the new one."""
MOST_ASKED_AGAIN = 10
BUILT = ("stage/apply", "stage/build")
"""What comes out the same however often it is asked."""

Ask = Callable[[Job, Path], Report]
AskAgain = Callable[[Path, str, Path, int], Sequence[Result]]


class Nightly:
    """The nights of one matrix. ``ask`` does a run, ``ask_again`` one test of it a few times more."""

    def __init__(
        self, matrix: Matrix, jobs: Sequence[Job], nights: Nights, store: Store, ask: Ask, ask_again: AskAgain
    ) -> None:
        self.matrix, self.jobs, self.nights, self.store = matrix, jobs, nights, store
        self.ask, self.ask_again = ask, ask_again
        self.now: Callable[[], float] = time.time
        self.clock: Callable[[], float] = time.monotonic

    def plan(self) -> list[tuple[Entry, Job]]:
        """The jobs in the order of their value."""
        found: dict[str, tuple[Entry, Job]] = {}
        common = key_of(suite=suite_key(), npu=npu_code())
        identities: dict[str, str] = {}
        for job in self.jobs:
            key = key_of(job=job.model_dump(mode="json", exclude={"workers"}))
            found[key] = Entry(key, title(job), self._inputs(job, common, identities), self.nights.past(key)), job
        return [found[entry.key] for entry in ordered([entry for entry, _ in found.values()], self.now())]

    def _inputs(self, job: Job, common: str, identities: dict[str, str]) -> str:
        """A hash of all that the answers depend on; empty where that cannot be found out now."""
        specs = [spec for spec in (job.kernel, job.base) if spec]
        for spec in specs:
            if spec not in identities:
                try:
                    identities[spec] = sources.identity(spec, self.store)
                except HarnessError as error:
                    warn(f"whether {spec} has changed is not known: {error.message}")
                    identities[spec] = ""
        if not all(identities[spec] for spec in specs):
            return ""
        return key_of(common=common, kernels=[identities[spec] for spec in specs])

    def execute(self) -> Came:
        """One night, or the rest of one that was cut off."""
        self.store.spare(int(self.matrix.keep.free_gigabytes * 1e9))
        night = self._night()
        while (run := self._next(night)) is not None:
            self._run(run)
        told = self.nights.under_way()
        self._tidy()
        self.nights.end(self.now())
        return self.came(told)

    def _night(self) -> Night:
        """The night to be done. One that was cut off too long ago stays under way beside it, so that it is told with
        the new one, which is compared with it."""
        cut_off = self.nights.under_way()
        if cut_off and self.now() - cut_off[-1].started < STALE_SECONDS:
            say(f"going on with night {cut_off[-1].id}")
            return cut_off[-1]
        for run in (run for night in cut_off for run in self.nights.runs(night.id)):
            if run.state == "running":
                self._run(run)
        plan = [(entry, write_job(job)) for entry, job in self.plan()]
        return self.nights.begin(self.now(), self.matrix.hours * 3600, plan)

    def _next(self, night: Night) -> NightRun | None:
        """What was cut off goes on first; then the most valuable run that ends in time."""
        runs = self.nights.runs(night.id)
        cut_off = next((run for run in runs if run.state == "running"), None)
        if cut_off is not None:
            return cut_off
        waiting = sorted((run for run in runs if run.state == "planned"), key=lambda run: run.tries)
        spent = sum(run.seconds or 0.0 for run in runs)
        known = {run.entry: self.nights.past(run.entry).seconds for run in runs}
        guess = max((seconds for seconds in known.values() if seconds is not None), default=GUESS)
        place = fitting([known[run.entry] or guess for run in waiting], night.seconds - spent, first=not spent)
        return None if place is None else waiting[place]

    def _run(self, run: NightRun) -> None:
        """Do one run, whatever becomes of it: the night goes on."""
        if run.tries >= MOST_TRIES:
            self.nights.trouble(run.id, f"cut off {run.tries} times", run.seconds or 0.0, again=False)
            return
        self.nights.start(run.id, self.now())
        started = self.clock()
        folder = self.nights.folder / run.folder
        try:
            with step(f"{run.title} ({run.why})"):
                report = self.ask(parse_toml(run.job, Job, run.title), folder)
                answers = self._answers(run, report)
            self.nights.done(run.id, report.verdict, _kernel(report), self.clock() - started, answers)
        except (HarnessError, BrokenPipeError) as error:
            lines = error.lines() if isinstance(error, HarnessError) else ["a process of the lab went away"]
            say("\n".join(lines), style="red")
            again = not isinstance(error, HarnessError) or (isinstance(error, InfraError) and error.transient)
            self.nights.trouble(run.id, "; ".join(lines), self.clock() - started, again and run.tries == 0)
        except Exception:
            said = f"a bug of xdna-harness, please report it: {folder / 'traceback.txt'}"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "traceback.txt").write_text(traceback.format_exc())
            except OSError:  # a full disk, which may be the bug
                said = f"a bug of xdna-harness, please report it: {traceback.format_exc().splitlines()[-1]}"
            say(said, style="red")
            self.nights.trouble(run.id, said, self.clock() - started, again=False)

    def _answers(self, run: NightRun, report: Report) -> dict[str, tuple[Answer, float]]:
        """What each test came to; a new failure that nothing was compared with, or that the run could not confirm, is
        asked again: is it one? InfraError: the kernel did not come up, and does now, so nobody knows what its tests
        would have said."""
        found = {
            c.id: (answer(c, report.known), sum(r.seconds for r in c.head if r.attempt == 1))
            for c in report.judgement.comparisons
        }
        if not self.matrix.confirm:
            return found
        new = news(self.nights.before(run), {test: said for test, (said, _) in found.items()}).worse
        once = report.ids(Change.SUSPECT)
        unsure = once if "base" in report.lanes else new
        doubtful = [test for test in new if test in unsure and test not in BUILT]
        for number, test in enumerate(doubtful[:MOST_ASKED_AGAIN], 1):
            place = report.run.with_name(f"{report.run.name}-again-{number}")
            more = self.ask_again(report.run, test, place, self.matrix.confirm)
            if any(result.outcome is Outcome.PASS for result in more):
                if test.startswith("stage/"):
                    raise InfraError(f"{test} failed, and does not when it is asked again", transient=True)
                found[test] = Answer.FLAKY, found[test][1]
            elif test in once and not any(result.outcome in (Outcome.FAIL, Outcome.LOST) for result in more):
                found[test] = Answer.ERROR, found[test][1]  # nobody could confirm it
        return found

    def came(self, nights: Sequence[Night]) -> Came:
        """What a night came to, from its history; in front of it those that were cut off before it."""
        told = []
        for run in (run for night in nights for run in self.nights.runs(night.id)):
            if run.state != "done":
                told.append(Told(run))
                continue
            before, now = self.nights.before(run), self.nights.answers(run.id)
            folder = self.nights.folder / run.folder
            again = {test: repro(folder, test) for test, said in now.items() if said in (*BAD, Answer.FLAKY)}
            wavering = Answer.FLAKY in now.values()
            told.append(Told(run, news(before, now), again, before is None, wavering, partial(now)))
        return Came(nights[-1].id, tuple(told))

    def _tidy(self) -> None:
        keep = self.matrix.keep
        for night in expired(self.nights.kept(), keep.nights, int(keep.gigabytes * 1e9)):
            say(f"the run folders of night {night} go; what it came to stays in the history")
            self.nights.drop_folders(night)
        self.store.spare(int(keep.free_gigabytes * 1e9))


def _kernel(report: Report) -> str:
    """The release of the kernel that was asked."""
    return report.lanes["head"].kernel if "head" in report.lanes else ""
