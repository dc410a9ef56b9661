# SPDX-License-Identifier: GPL-2.0-only
"""``xdna-harness hunt``: random walks in guests of their own, until the time is over. What is new is asked again, and
shrunk to a short script that still shows it.

    OUT/found-N/     script.jsonl, README.md (with the command that repeats it), splat.txt, console.log
    OUT/guests/N/    records and boot of each guest that showed something new
"""

from __future__ import annotations

import itertools
import shlex
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InfraError, UsageError
from harness.host.store import Store
from harness.job import Job
from harness.log import say, step
from harness.model.found import Answer, Found, Tally, readme
from harness.model.script import Script, Step, read, smaller, write
from harness.model.shrink import Shrinker
from harness.model.walk import STEPS, walk
from harness.walks import Walks

REPEATS = 3
"""So many fresh guests are asked again about what a walk showed, and about what is left of it."""
MOST_GUESTS = 80
MOST_SECONDS = 600.0
"""What shrinking one finding may take."""
MOST_TROUBLE = 6
"""So many walks in a row that have no answer end the hunt."""
MOST_LEADS = 8
"""So many other new things that one walk's pursuits meet are pursued, too; the rest is written up as it was met."""
EXIT_NEW, EXIT_TROUBLE = 1, 3

Leads = dict[str, tuple[Script, Answer]]
"""What is new, by key: a script that showed it, and how that ended."""


@dataclass(frozen=True)
class Request:
    """Walks of ``steps`` steps from ``seed`` on, for ``minutes`` but no more than ``walks`` (0: any number); on what
    they are done stands in ``job``."""

    job: Job
    out: Path
    seed: int = 1
    minutes: float = 10.0
    steps: int = STEPS
    walks: int = 0


class Hunt:
    """One hunt, one folder. Raises UsageError when the folder holds something else."""

    def __init__(self, request: Request, store: Store) -> None:
        self.request = request
        self.out = request.out
        if self.out.exists() and any(self.out.iterdir()):
            raise UsageError(f"{self.out} is not empty", hint="name another --out, or delete that folder")
        self.out.mkdir(parents=True, exist_ok=True)
        self.tally = Tally()
        self.found: list[Found] = []
        self._met: set[str] = set()
        self._trouble = 0
        self._started = time.monotonic()
        self.guests = Walks(request.job, self.out / "guests", store)

    def close(self) -> None:
        self.guests.close()

    def walks(self) -> int:
        """Walk until the time is over, and pursue what is new to its end: the exit status."""
        seed = self.request.seed
        seeds = iter(range(seed + 1, seed + self.request.walks)) if self.request.walks else itertools.count(seed + 1)
        self._walked(seed, self.guests.ask(self._walk(seed)))  # alone: it may have to save a guest first
        deadline = time.monotonic() + 60 * self.request.minutes
        running: dict[Future[Answer], int] = {}
        with step(f"walks from seed {self.request.seed} on, for {self.request.minutes:g} min") as progress:
            while True:
                while time.monotonic() < deadline and len(running) < self.guests.side_by_side:
                    if (seed := next(seeds, -1)) < 0:
                        break
                    running[self.guests.start(self._walk(seed))] = seed
                if not running:
                    return self._status()
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    self._walked(running.pop(future), future.result())
                progress.update(f"{self.tally.walks} walks, {len(self.found)} new")

    def repeat(self, script: Script) -> int:
        """Do one script in a few guests: the exit status."""
        answers = [self.guests.ask(script), *self.guests.all([script] * (REPEATS - 1))]
        for number, one in enumerate(answers, 1):
            self.tally.add(one, len(script))
            new = ", ".join(f"NEW {key}" for key in one.news)
            known = "; ".join(f"known: {reason}" for reason in one.known)
            say(f"guest {number}: {one.trouble or '; '.join(filter(None, (new, known))) or 'nothing'}")
        for key in dict.fromkeys(key for one in answers for key in one.news):
            hits = [one for one in answers if key in one.news]
            self._write(Found(key, script, None, len(script), len(hits), len(answers), 0, True, hits[-1]))
        return self._status()

    def _walk(self, seed: int) -> Script:
        return walk(seed, self.request.steps)

    def _status(self) -> int:
        if not self.tally.walks:
            return EXIT_TROUBLE
        return EXIT_NEW if self.found else 0

    def _walked(self, seed: int, one: Answer) -> None:
        """Count a walk; pursue what is new. Raises InfraError when the lab does not answer any more."""
        self.tally.add(one, self.request.steps)
        self._trouble = self._trouble + 1 if one.trouble else 0
        if one.trouble:
            say(f"seed {seed}: no answer: {one.trouble.splitlines()[0]}")
        if self._trouble >= MOST_TROUBLE:
            message = f"{self._trouble} walks in a row had no answer"
            raise InfraError(message, hint="see the logs of the last", log=one.folder)
        leads = {key: (self._walk(seed), one) for key in one.news}
        left = len(leads) + MOST_LEADS
        while leads:
            key = next(iter(leads))
            script, shown = leads.pop(key)
            if key in self._met:
                continue
            self._met.add(key)
            left -= 1
            if left < 0:
                self._write(Found(key, script, seed, len(script), 0, 0, 0, False, shown))
            else:
                leads = {**self._pursue(seed, key, script, shown), **leads}

    def _pursue(self, seed: int, key: str, script: Script, one: Answer) -> Leads:
        """Something new: ask again, shrink it, write it up. What else its last guest showed comes with it; what else
        was met on the way is returned."""
        quarry = Quarry(self.guests, key, one)
        with step(f"seed {seed}: NEW {key}: asked again"):
            hits = quarry.shown(script, REPEATS)
        if not hits:
            self._write(Found(key, script, seed, len(script), 0, REPEATS, REPEATS, False, one))
            return quarry.others
        seen = quarry.last
        with step(f"seed {seed}: {key}: shrinking a walk that showed it {hits} of {REPEATS} times"):
            items, whole = quarry.shrink(script, 1 if hits == REPEATS else REPEATS)
            left = quarry.shown(items, REPEATS)
        if left:
            found = Found(key, items, seed, len(script), left, REPEATS, quarry.asked, whole, quarry.last)
        else:
            found = Found(key, script, seed, len(script), hits, REPEATS, quarry.asked, False, seen, lost=True)
        self._met |= set(found.answer.news)
        self._write(found)
        return quarry.others

    def _write(self, found: Found) -> None:
        self.found.append(found)
        folder = self.out / f"found-{len(self.found)}"
        folder.mkdir()
        (folder / "script.jsonl").write_text(write(found.script))
        (folder / "README.md").write_text(readme(found, self.guests.where, self._again(folder / "script.jsonl")))
        (folder / "splat.txt").write_text(found.evidence)
        for console in sorted(found.answer.folder.glob("boot-*/console.log"))[-1:] if found.answer.folder else ():
            (folder / "console.log").write_bytes(console.read_bytes())
        times = f"{found.hits} of {found.tries} times" if found.hits else f"once, and not in {found.tries} more guests"
        times = times if found.tries else "once, and was not asked again"
        say(f"NEW {found.key} {times}, {len(found.script)} steps: {folder / 'README.md'}", style="red")

    def _again(self, script: Path) -> str:
        """The command that repeats a finding."""
        job = self.request.job
        words = ["xdna-harness", "hunt", "--script", str(script), "--kernel", job.kernel, "--npu", job.npu]
        words += ["--address-mode", job.address_mode.value, "--profile", job.profile.value]
        for name in job.edits:
            words += ["--edit", name]
        return shlex.join(words)

    def summary(self) -> list[str]:
        """What was walked, reached, met and found."""
        tally, seconds = self.tally, time.monotonic() - self._started
        lines = [f"{tally.walks} walks, {tally.steps} steps, {seconds:.0f} s; {tally.troubles} without an answer"]
        lines += ["", "reached:", *(f"  {line}" for line in tally.table())]
        if tally.known:
            lines += ["", "known:", *(f"  {count:4} x {reason}" for count, reason in tally.known_by_count())]
        lines += ["", f"new: {len(self.found) or 'nothing'}"]
        lines += [f"  found-{n}: {f.key} ({f.hits} of {f.tries}): {f.title}" for n, f in enumerate(self.found, 1)]
        return lines

    def data(self) -> dict[str, object]:
        """The same for programs: counts, and key, title, hits, tries and steps of what is new."""
        tally = self.tally
        found = [
            {"key": f.key, "title": f.title, "hits": f.hits, "tries": f.tries, "steps": len(f.script)}
            for f in self.found
        ]
        known = [{"times": count, "reason": reason} for count, reason in tally.known_by_count()]
        counts = {"walks": tally.walks, "steps": tally.steps, "troubles": tally.troubles}
        return {**counts, "seconds": round(time.monotonic() - self._started, 1), "known": known, "new": found}


class Quarry:
    """One new thing, pursued. ``last``: the last answer that showed it; ``asked``: guests so far; ``others``: what else
    was new in them, with the script that met it first."""

    def __init__(self, guests: Walks, key: str, first: Answer) -> None:
        self._guests = guests
        self._key = key
        self.last = first
        self.asked = 0
        self.others: Leads = {}

    def shown(self, script: Script, times: int) -> int:
        """How many of so many fresh guests show it."""
        return sum(self._ask([script] * times))

    def shrink(self, script: Script, times: int) -> tuple[Script, bool]:
        """The smallest script found that shows it in one of ``times`` guests, and whether nothing more can go."""
        started = time.monotonic()

        def first(scripts: Sequence[tuple[Step, ...]]) -> int | None:
            shown = self._ask([script for script in scripts for _ in range(times)])
            return next((n for n in range(len(scripts)) if any(shown[n * times : (n + 1) * times])), None)

        def may_ask(asked: int) -> bool:
            return asked * times < MOST_GUESTS and time.monotonic() - started < MOST_SECONDS

        batch = max(1, self._guests.side_by_side // times)
        shrunk = Shrinker(first, smaller, may_ask, batch).shrink(script)
        return shrunk.items, shrunk.done

    def _ask(self, scripts: Sequence[Script]) -> list[bool]:
        self.asked += len(scripts)
        answers = self._guests.all(scripts)
        for script, one in zip(scripts, answers, strict=True):
            if self._key in one.news:
                self.last = one
            for key in one.news:
                self.others.setdefault(key, (script, one))
        return [self._key in one.news for one in answers]


def read_script(path: Path) -> Script:
    """The script in a file. Raises UsageError."""
    try:
        return read(path.read_text())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="name a script.jsonl of a hunt") from error
    except ValueError as error:
        raise UsageError(f"{path}: {error}", hint="mend that line") from error
