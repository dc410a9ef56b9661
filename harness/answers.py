# SPDX-License-Identifier: GPL-2.0-only
"""What a driver answered in an earlier run, kept by key: as long as nothing that can change the answers has changed, it
need not be asked again. A lane whose driver is bit for bit another lane's has the same key.

    results/<key>/events.jsonl   a lane that answered everything, with its repetitions
    results/<key>/run            the folder of the run that asked
    timings.json                 how long each group of tests took last, by kernel profile
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.errors import InfraError
from harness.formats.events import load_events
from harness.formats.records import fold
from harness.host import notes
from harness.host.data import data_folder
from harness.host.store import Store, hash_tree, key_of
from harness.host.vm import Machine
from harness.job import Job
from harness.lab import npu_code
from harness.model.judge import ATTEMPTS
from harness.model.kernel import Module, Profile
from harness.model.result import Outcome

RECIPE = 3
"""Count up when events mean something else, or the agent or the lane asks in another way."""
KEPT = ("boot", "suite-start", "test-start", "test-end", "lost", "fault", "unlooked", "suite-end")
STAGES = ("stage/boot", "stage/probe")


def key(job: Job, module: Module, machine: Machine) -> str:
    """Everything that the answers depend on: kernel, driver, machine, NPU, suite and agent, and what is asked."""
    asked = (job.suite, job.select, job.quick, job.test_seconds, job.kmemleak, *(("traced",) if job.traced else ()))
    return key_of(
        recipe=RECIPE,
        kernel=module.kernel.key,
        module=module.digest,
        machine=machine.saved_line(),
        variant=job.variant.name,
        npu=npu_code(),
        suite=suite_key(),
        asked=asked,
    )


def suite_key() -> str:
    """A hash of the tests, the traces that they replay, and what runs them."""
    package = data_folder("harness")
    tests = [hash_tree(data_folder("tests/target"), f"*{kind}") for kind in (".py", ".json")]
    return key_of(tests=tests, leaves=[hash_tree(package / leaf, "*.py") for leaf in ("guest", "drm")])


def find(store: Store, name: str) -> tuple[list[dict[str, Any]], str] | None:
    """The events kept under this key and the run they came from."""
    entry = store.path("results", name)
    try:
        run = (entry / "run").read_text()
        events = load_events(entry / "events.jsonl")
    except (OSError, ValueError):
        return None
    return (events, run) if events else None  # a power failure may leave a file empty


def kept(events: Sequence[Mapping[str, Any]], attempts: int) -> list[Mapping[str, Any]]:
    """Of a lane's events those of its first ``attempts``, with the stages that every guest goes through."""
    return [
        e
        for e in events
        if (e.get("event") in KEPT and e.get("attempt", 1) <= attempts)
        or (e.get("event") == "stage" and e.get("id") in STAGES)
    ]


def keep(store: Store, name: str, events: Sequence[Mapping[str, Any]], run: Path, anew: bool = False) -> bool:
    """Keep what a lane answered, repetitions too, if its first attempt answered everything; an ERROR, a fault or a
    failed stage is no answer. ``anew``: in place of what is kept, even if that is more."""
    results = fold(events)
    first = {r.id for r in results.results if r.attempt == 1 and r.outcome is not Outcome.ERROR}
    stages = all(r.outcome is Outcome.PASS for r in results.results if r.is_stage)
    errors = any(r.outcome is Outcome.ERROR for r in results.results)
    if results.broken or errors or not results.planned or not results.planned <= first or not stages:
        return False
    lines = [json.dumps(event) for event in kept(events, 2 * ATTEMPTS)]
    old = find(store, name)
    if old is not None and len(old[0]) >= len(lines) and not anew:
        return True

    def write(folder: Path) -> None:
        (folder / "events.jsonl").write_text("".join(line + "\n" for line in lines))
        (folder / "run").write_text(str(run.resolve()))

    store.discard("results", name)
    store.get("results", name, write)
    return True


def timings(store: Store, profile: Profile) -> dict[str, float]:
    """Seconds that each group of tests took last."""
    try:
        return {str(k): float(v) for k, v in json.loads((store.root / "timings.json").read_text())[profile].items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return {}


def remember(store: Store, profile: Profile, events: Sequence[Mapping[str, Any]]) -> None:
    """Note how long each group took in this lane. Only an order depends on it: two runs may overwrite each other."""
    groups = {e["boot"]: str(e.get("group") or "") for e in events if e.get("event") == "boot"}
    seconds: dict[str, float] = {}
    for event in events:
        if event.get("event") == "test-end" and event.get("attempt") == 1:
            group = groups.get(event.get("boot")) or ""
            seconds[group] = seconds.get(group, 0.0) + float(event.get("duration", 0))
    seconds.pop("", None)
    if not seconds:
        return
    path = store.root / "timings.json"
    try:
        kept = json.loads(path.read_text())
    except (OSError, ValueError):
        kept = {}
    kept[profile.value] = {**timings(store, profile), **{k: round(v, 1) for k, v in seconds.items()}}
    with suppress(InfraError):
        notes.write(path, json.dumps(kept, indent=1))
