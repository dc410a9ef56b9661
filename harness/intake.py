# SPDX-License-Identifier: GPL-2.0-only
"""What a run begins with: the series is fetched, the kernels are unpacked, and what is to be done is decided.

What a reader of the report must know of these goes into the run's records.
"""

from __future__ import annotations

from harness.errors import InfraError
from harness.host.fetch import fetch
from harness.host.recorder import RunRecords
from harness.host.sources import resolve
from harness.host.store import Store
from harness.job import Job, SeriesKnowledge
from harness.knowledge import groups, knowledge_of, read_edits, series_knowledge
from harness.log import step
from harness.model.edit import Edits
from harness.model.series import Series
from harness.model.tree import Source
from harness.plan import Plan, is_merged, plan


def take_in(job: Job, store: Store, records: RunRecords) -> tuple[Series | None, Plan]:
    """The series, if it could be had or is not needed, and the plan. Raises UsageError and InfraError."""
    base_patches = fetch(job.base_patch).patches if job.base_patch else ()
    known = series_knowledge(job.series)
    series = _series(job, known, records)
    kernel, base = _kernels(job, store, records)
    known = known or knowledge_of(series)
    merged = is_merged(known, kernel.version) and not base_patches and base is None
    if merged and known is not None:
        records.note(
            f"{known.title!r} was merged for Linux {known.merged_in}: {kernel.version} carries it, so it runs as it is"
        )
    elif series is None and job.series:
        raise InfraError(
            f"the series {job.series} could not be fetched",
            hint="try again, or give it as an mbox",
            transient=True,
        )
    edits = _edits(job, records)
    todo = plan(job, kernel, base, series, base_patches, merged, groups(job.quick, job.suite), edits)
    for note in todo.notes:
        records.note(note)
    return series, todo


def _kernels(job: Job, store: Store, records: RunRecords) -> tuple[Source, Source | None]:
    """The kernel, and another one that it is compared with, if the job names one."""
    kernel = resolve(job.kernel, store)
    base = resolve(job.base, store) if job.base else None
    records.fact("kernel", f"{job.kernel}: {kernel.origin}")
    if kernel.shipped:
        records.note("a kernel as shipped: no KASAN, lockdep or kmemleak looks on, and no allocation is made to fail")
    if base is not None:
        records.fact("base", f"{job.base}: {base.origin}")
    return kernel, base


def _edits(job: Job, records: RunRecords) -> list[Edits]:
    edits = [read_edits(name) for name in job.edits]
    if edits:
        records.fact("edit", "; ".join(f"{edit.name}, on every lane: {edit.title}" for edit in edits))
    return edits


def _series(job: Job, known: SeriesKnowledge | None, records: RunRecords) -> Series | None:
    """The series, and what is known about it. One that the kernel may carry already need not be reachable."""
    if not job.series:
        return None
    try:
        with step(f"fetch {job.series}"):
            series = fetch(job.series)
    except InfraError as error:
        if known is None:
            raise
        records.note(f"not fetched: {error.message}")
        records.add({"event": "series", "title": known.title, "trailers": []})
        return None
    _tell(series, records)
    return series


def _tell(series: Series, records: RunRecords) -> None:
    """What reports tell of a series. The cover letter's id is not known where there is none: then the first patch's."""
    first = next((patch.message_id for patch in series.patches if patch.message_id), None)
    about = {"title": series.title, "trailers": list(series.trailers), "message_id": series.message_id or first}
    records.add({"event": "series", **about})
    revision = f"v{series.revision}, " if series.revision else ""
    records.fact("series", f"{revision}{len(series.patches)} patch(es): {series.title}")
    if series.attestation:
        records.fact("attestation", series.attestation)
    if series.newer_revision:
        records.note(f"a newer revision is on the list: v{series.newer_revision}")
    for note in series.notes:
        records.note(note)
