# SPDX-License-Identifier: GPL-2.0-only
"""``xdna-harness prove``: plant one bug after the other, and see whether the suite catches it.

OUT/job.toml       what is asked
OUT/prove.jsonl    a line for each bug that was tried; the last one of a bug counts
OUT/<id>           everything about one bug
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from harness import score
from harness.control import Control
from harness.engines.module import Modules
from harness.errors import UsageError
from harness.host.data import data_folder
from harness.host.recorder import Recorder
from harness.host.sandbox import Sandbox
from harness.host.sources import resolve
from harness.host.store import Store, key_of
from harness.job import Job, claim
from harness.log import say, step
from harness.model.footprint import Footprints
from harness.model.planted import Fate, Planted, Proof, Score
from harness.trial import Trial

RECORDS = "prove.jsonl"
RECIPE = 1
"""Of a proof: count up when bugs are tried in another way."""


def chosen(bugs: Sequence[Planted], only: Sequence[str]) -> list[Planted]:
    """Those that are named, all if none is. UsageError: a name that no bug has."""
    ids = [bug.id for bug in bugs]
    for name in only:
        if name not in ids:
            near = difflib.get_close_matches(name, ids)
            hint = f"did you mean {', '.join(near)}?" if near else "the ids are the names of the files, without .toml"
            raise UsageError(f"there is no planted bug {name!r}", hint=hint)
    return [bug for bug in bugs if not only or bug.id in only]


class Prove:
    """Some bugs on one kernel. ``whole``: these are all that the project has, so their score is worth to be quoted."""

    def __init__(self, job: Job, bugs: Sequence[Planted], out: Path, store: Store, whole: bool = False) -> None:
        self.check(job)
        self.job, self.bugs, self.out, self.store = job, bugs, out, store
        self.whole = whole and not job.select and not job.quick
        claim(job, out, "proof")
        self.records = Recorder(out / RECORDS)

    @staticmethod
    def check(job: Job) -> None:
        """Refuse what cannot be meant."""
        if job.real or job.series or job.base or job.base_patch or job.edits or job.coverage or job.kmemleak:
            raise UsageError("bugs are planted in a kernel as it is, on the emulated NPU", hint="mend the job")

    def execute(self) -> Score:
        """Try every bug that this folder does not tell of yet."""
        source = resolve(self.job.kernel, self.store)
        engine = Modules(self.store, Sandbox.detect(), data_folder("jobs") / "kconfig")
        control = Control(self.job, source, self.out, self.store, engine)
        found: list[Proof] = []
        try:
            control.ask()
            footprints: Footprints | None = None
            for number, bug in enumerate(self.bugs, 1):
                edit = key_of(recipe=RECIPE, edit=asdict(bug.edits), control=control.key)
                if (proof := self._known(bug, edit)) is None:
                    footprints = footprints or control.footprints()
                    with step(f"{number} of {len(self.bugs)}: {bug.id}"):
                        proven = score.catchers(self.store) + Counter(p.by for p in found if p.fate is Fate.CAUGHT)
                        proof = Trial(bug, control, footprints, proven, self._folder(bug), edit).run()
                        self.records.add(proof.record())
                        by = f" by {proof.by}" if proof.by else ""
                        say(f"{bug.id}: {proof.fate}{by}, {proof.seconds:.0f} s")
                    control.keep()
                found.append(proof)
        finally:
            control.lane.close()
            self.records.close()
        job = self.job
        total = Score(tuple(found), f"Linux {source.version}, {job.npu}, {job.address_mode}, {job.profile}")
        if self.whole and not total.unknown:
            score.keep(self.store, total, source.version)
        return total

    def _known(self, bug: Planted, edit: str) -> Proof | None:
        """What an earlier call with this folder found out; unknown is asked again."""
        proofs = [Proof.read(record) for record in self.records.events if record.get("id") == bug.id]
        if not proofs or proofs[-1].edit != edit or proofs[-1].fate is Fate.UNKNOWN:
            return None
        return replace(proofs[-1], title=bug.title, kind=bug.kind, series=bug.series, survives=bug.survives)

    def _folder(self, bug: Planted) -> str:
        """A folder of its own for each time that a bug is tried."""
        names = [bug.id, *(f"{bug.id}-{n}" for n in range(2, 1000))]
        return next(name for name in names if not (self.out / name).exists())
