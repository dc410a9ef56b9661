# SPDX-License-Identifier: GPL-2.0-only
"""Everything about one series: a run of each of its patches, static checks on each, the previous revision, and where it
stands.

OUT/               the run, patch by patch, lines counted
OUT/review.json    all of it; so has OUT/report.html
OUT/previous/      the run of the previous revision, on the same base
OUT/previous.mbox  that revision, if it was found on the list
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.checks import static
from harness.engines.seed import is_trusted
from harness.errors import HarnessError, InfraError, PatchError, UsageError
from harness.formats.remarks import given, remarks
from harness.host.bench import Bench
from harness.host.fetch import fetch
from harness.host.range_diff import DoesNotApply, range_diff
from harness.host.revisions import Discussion, Found, discussion, previous
from harness.host.store import Store
from harness.job import Job, command
from harness.log import say, step, warn
from harness.model.complaint import Answer, CheckReport, attribute
from harness.model.judge import LaneResults
from harness.model.review import Review
from harness.model.revision import Previous, carried, changed, not_compared
from harness.model.series import Series
from harness.model.tree import Tree
from harness.plan import BASE, HEAD, PREFIX
from harness.report import lane_results
from harness.run import Run
from harness.standing import standing

PREVIOUS = "previous"


@dataclass(frozen=True)
class Request:
    """What to review: the run's job, and the previous revision if it is named."""

    job: Job
    previous: str = ""


class Reviewer:
    """One review, in the folder ``out``."""

    def __init__(self, request: Request, out: Path, store: Store) -> None:
        if not request.job.series:
            raise UsageError("nothing to review", hint="name a SERIES")
        self.request = request
        self.job = request.job.model_copy(update={"per_patch": True, "coverage": not request.job.machine})
        self.out, self.store = out, store
        self.run = Run(self.job, out, store)

    def review(self) -> Review:
        """Do everything. Raises what a run raises, and UsageError for a previous revision that was named and is not
        there; what else goes wrong is part of the review."""
        named = self._named()
        report = self.run.execute()
        series, todo = self.run.series, self.run.todo
        if series is None or todo is None:
            raise UsageError("the series is not at hand, only its name", hint="give it as an mbox")
        checks = self._checks(series)
        revision, why = self._previous(series, named)
        return Review(
            report=report,
            patches=tuple(patch.subject for patch in series.patches),
            checks=tuple(checks),
            standing=standing(series, todo.lane(HEAD).source),
            previous=revision,
            no_previous=why,
            command=self._command(),
        )

    def _named(self) -> Series | None:
        """The previous revision that was named: a slip of the keyboard is told before the run, not hours later. What
        else is wrong with it is part of the review; a list that does not answer now is asked again for that."""
        if not self.request.previous:
            return None
        try:
            return fetch(self.request.previous)
        except (InfraError, PatchError) as error:
            warn(f"{self.request.previous}: {' '.join(error.lines())}; it is read again after the run")
            return None

    def _command(self) -> tuple[str, ...]:
        words = command(self.request.job)
        more = ("--previous", self.request.previous) if self.request.previous else ()
        return (words[0], "review", *words[2:], *more)

    def _checks(self, series: Series) -> list[CheckReport]:
        """Every static check on base and on each prefix."""
        found = []
        with step(f"static checks of {len(series.patches)} patch(es)"):
            try:
                benches = self._benches(series)
            except HarnessError as error:
                benches = [" ".join(error.lines())] * (len(series.patches) + 1)
            for check in static.CHECKS:
                with step(check.name):
                    tool = "" if static.lacking(check) else static.version(check)
                    answers = [
                        Answer(not_asked=bench) if isinstance(bench, str) else static.ask(check, bench)
                        for bench in benches
                    ]
                found.append(attribute(check.name, tool, answers))
        return found

    def _benches(self, series: Series) -> list[Bench | str]:
        """One for base and one for each prefix; where there is no tree, why."""
        trees, last = self.run.builds.trees, len(series.patches)
        names = [BASE, *(HEAD if number == last else f"{PREFIX}{number}" for number in range(1, last + 1))]
        files = tuple(sorted({name for patch in series.patches for name in patch.files}))
        mails = [b"", *(patch.mail for patch in series.patches)]
        engine, sandbox = self.run.builds.engine, self.run.sandbox
        scripts = self.run.todo.lane(HEAD).source if self.run.todo else None
        found: list[Bench | str] = []
        for name, mail in zip(names, mails, strict=True):
            tree = trees.get(name)
            if tree is None or scripts is None:
                found.append(_no_tree(name, trees))
                continue
            kernel = engine.source_kernel(tree, self.job.profile)
            trusted = is_trusted(tree.touched)
            found.append(Bench(sandbox, self.store, tree, scripts, kernel, files, mail, trusted))
        return found

    def _previous(self, series: Series, old: Series | None) -> tuple[Previous | None, str]:
        """The revision before (``old`` if that is at hand), or why there is none."""
        named = self.request.previous
        try:
            found = Found(named, "named") if named else previous(series, self.out / "previous.mbox")
            if not found.spec:
                return None, found.how
            with step(f"previous revision: {found.spec}"):
                return self._compared(found, old or fetch(found.spec), series), ""
        except HarnessError as error:  # after hours of a run, which must not be lost for it
            return None, ": ".join(filter(None, (named, " ".join(error.lines()))))

    def _compared(self, found: Found, old: Series, series: Series) -> Previous:
        revision = Previous(found.spec, found.how, old.title, old.revision)
        revision = self._range_diff(revision, old, series)
        revision = self._mails(revision, old, series)
        return self._asked(revision, series)

    def _range_diff(self, revision: Previous, old: Series, new: Series) -> Previous:
        base = self.run.builds.trees.get(BASE)
        if base is None:
            return replace(revision, no_range_diff="there is no base to put them on")
        try:
            return replace(revision, range_diff=range_diff(base, old, new))
        except (DoesNotApply, HarnessError) as error:
            return replace(revision, no_range_diff=error.message)

    def _mails(self, revision: Previous, old: Series, new: Series) -> Previous:
        """Trailers, and what was answered to the old revision."""
        try:
            said = discussion(old)
        except HarnessError as error:
            say(f"note: {error.message}")
            said = Discussion()
        name = f"v{new.revision}" if new.revision else "this one"
        found = remarks(said.mails, said.own, new.trailers, name)
        trailers = carried(old.trailers, given(found), new.trailers)
        more = len(said.mails) > len(said.own)
        return replace(revision, carried=trailers, remarks=found if more else None)

    def _asked(self, revision: Previous, series: Series) -> Previous:
        """Run the old revision's head on the same base: of the base, all answers are there already."""
        job = self.request.job.model_copy(update={"series": revision.spec, "per_patch": False, "coverage": False})
        try:
            report = Run(job, self.out / PREVIOUS, self.store).execute()
        except HarnessError as error:
            return replace(revision, no_report=" ".join(error.lines()))
        one, two = (_head(out, job) for out, job in ((self.out / PREVIOUS, job), (self.out, self.job)))
        return replace(revision, report=report, changed=changed(one, two), not_compared=not_compared(one, two))


def _head(out: Path, job: Job) -> LaneResults:
    results, _ = lane_results(out, job)
    return results.get(HEAD, LaneResults())


def _no_tree(lane: str, trees: Mapping[str, Tree]) -> str:
    """Why a lane has none."""
    if BASE in trees:
        return "the patch does not apply"
    return "there is no base to compare with" if lane == BASE else "the kernel carries the series as a whole"
