# SPDX-License-Identifier: GPL-2.0-only
"""What a developer asks before sending: the commits of a kernel tree as two runs, the plain kernel first.

OUT/series.mbox   the commits and what is not committed, as mails
OUT/base.patch    from the commit whose kernel is built to the one before the series, if they differ
OUT/plain/        a run; OUT/debug/ another one, unless plain has found something
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.host.fetch import fetch, write_mbox
from harness.host.sources import has_commit
from harness.host.state import state_folder
from harness.host.store import Store
from harness.host.worktree import Span, Worktree
from harness.job import Job
from harness.log import say
from harness.model.judge import Change, Comparison, Verdict
from harness.model.kernel import Profile
from harness.model.report import Report
from harness.model.result import Outcome
from harness.model.series import Series
from harness.reporters.text import NOISE, excerpt

STEPS = (Profile.PLAIN, Profile.DEBUG)
SHOWN = 10
SPLAT_LINES = 60
SERIES, BASE = "series.mbox", "base.patch"


@dataclass(frozen=True)
class Request:
    """How to ask. ``out``: the folder of the runs, absolute, so that their jobs can be repeated from anywhere."""

    out: Path
    plain_only: bool = False
    per_patch: bool = False
    select: str = ""


def default_out(stamp: str) -> Path:
    """Where the runs go: not into the kernel tree, which stays as it is, and not into the cache, which is deleted."""
    return state_folder() / f"presubmit-{stamp}"


def jobs(kernel: str, base_patch: str, request: Request) -> list[Job]:
    """The runs in their order. Everything they need is in their job, so each can be repeated from it alone."""
    return [
        Job(
            kernel=kernel,
            series=str(request.out / SERIES),
            base_patch=base_patch,
            profile=profile,
            select=request.select,
            quick=True,
            per_patch=request.per_patch,
        )
        for profile in (STEPS[:1] if request.plain_only else STEPS)
    ]


def prepare(tree: Worktree, span: Span, request: Request, store: Store) -> list[Job]:
    """Write what the runs need into the folder. UsageError: there is something else in it."""
    series = tree.series(span)
    anchor = tree.anchor(span.base, lambda commit: has_commit(commit, store))
    for note in series.notes:
        say(f"note: {note}")
    files = {SERIES: _mbox(series), **({BASE: anchor.diff} if anchor.diff else {})}
    _claim(request.out, files)
    base_patch = str(request.out / BASE) if anchor.diff else ""
    return jobs(f"git:{tree.top}#{anchor.commit}", base_patch, request)


def steps(todo: list[Job], out: Path, ask: Callable[[Job, Path], Report]) -> Iterator[Report]:
    """Run after run, each report as soon as it is there; none after one that is BAD."""
    for job in todo:
        report = ask(job, out / job.profile)
        yield report
        if report.verdict is Verdict.BAD:
            return


def summary(report: Report) -> list[str]:
    """What a developer needs of one run: what got worse, who did it, the splat, how to see it again."""
    lines = [f"{report.run.name}: {report.verdict}  {report.title}"]
    chosen = [c for c in report.judgement.comparisons if c.change in (Change.REGRESSED, Change.SUSPECT)]
    chosen.sort(key=lambda c: (c.change is not Change.REGRESSED, c.id))
    told = {comparison.id for comparison in chosen}
    for comparison in chosen[:SHOWN]:
        lines += ["", f"  {comparison.id}: {comparison.reason}"]
        if culprit := report.culprit(comparison.id):
            lines.append(f"    {culprit}")
        lines += [f"      {line}" for line in splat(comparison)]
        lines.append(f"    again: {report.again(comparison.id)}")
    if len(chosen) > SHOWN:
        lines += ["", f"  and {len(chosen) - SHOWN} more"]
    rest = [reason for reason in report.judgement.reasons if reason.partition(": ")[0] not in told]
    lines += [f"  {reason}" for reason in rest[:SHOWN]]
    if report.verdict is not Verdict.GOOD:
        lines += ["", f"  all of it: xdna-harness report {shlex.quote(str(report.run))}"]
    return lines


def splat(comparison: Comparison) -> list[str]:
    """The kernel's own words that base did not have, as far as a person reads them; without any, what the test
    said."""
    old = {fingerprint for result in comparison.base for fingerprint in result.fingerprints}
    answers = [r for r in comparison.head if r.outcome is not Outcome.PASS] or list(comparison.head)
    new = {f.fingerprint: f for r in answers for f in r.findings if f.fingerprint not in old}
    if not new:
        return excerpt(answers[0]) if answers else []
    lines = [line for f in new.values() for line in (f"{f.kind}:", *f.text.splitlines()) if not NOISE.match(line)]
    more = [f"... {len(lines) - SPLAT_LINES} more lines"] if len(lines) > SPLAT_LINES else []
    return lines[:SPLAT_LINES] + more


def _mbox(series: Series) -> bytes:
    """The series as an mbox that is read again as the same series, in the same order."""
    with tempfile.TemporaryDirectory(prefix="xdna-presubmit-") as scratch:
        path = Path(scratch) / SERIES
        write_mbox(series, path)
        if fetch(str(path)).patch_ids != series.patch_ids:
            raise UsageError(
                f"the commits '{series.title}' do not survive as mails", hint="is there a mail in a commit message?"
            )
        return path.read_bytes()


def _claim(out: Path, files: Mapping[str, bytes]) -> None:
    """A folder belongs to one state of one tree: the same goes on where it stopped, another one is refused."""
    try:
        _fill(out, files)
    except OSError as error:
        raise UsageError(f"{out} cannot be used: {error.strerror}", hint="name another --out") from error


def _fill(out: Path, files: Mapping[str, bytes]) -> None:
    there = {path.name for path in out.iterdir()} if out.exists() else set()
    same = {name for name, data in files.items() if name in there and (out / name).read_bytes() == data}
    if there and (same != set(files) or BASE in there - same):
        raise UsageError(f"{out} holds something else", hint="name another --out, or delete that folder")
    out.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (out / name).write_bytes(data)
