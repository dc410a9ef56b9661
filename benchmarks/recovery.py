# SPDX-License-Identifier: GPL-2.0-only
"""How long a lab machine takes from a blow to HEALTHY: ``python -m benchmarks.recovery FOLDER [NAME ...] [-n 20]``.

Plays each misbehaviour N times on a lab host of QEMU, which lives on from one to the next as long as it recovers.
FOLDER has one line for each in recovery.jsonl; what is there is not played again, so it may be stopped at any time. In
the end recovery.md has a table, and recovery.json the same for programs. Hours.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.misbehaviour import MISBEHAVIOURS, Misbehaviour
from harness.host.lab_host import Hardware, LabHost
from harness.host.store import Store

TIMES = 20


@dataclass(frozen=True)
class Line:
    """One play. ``wrong`` says what was not as it must be; times in seconds."""

    name: str
    number: int
    wrong: str = ""
    answers: float = 0.0
    healthy: float = 0.0


def read(path: Path) -> list[Line]:
    """What was played; a last line that was cut off is played again."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            lines.append(Line(**json.loads(text)))
        except ValueError:
            continue
    return lines


def left(lines: Sequence[Line], names: Iterable[str], times: int) -> list[tuple[str, int]]:
    """What is still to be played: all names once, then all once more."""
    done = {(line.name, line.number) for line in lines}
    return [(name, number) for number in range(1, times + 1) for name in names if (name, number) not in done]


def table(lines: Sequence[Line], about: dict[str, str]) -> str:
    """Markdown: how many recovered, and how long that took, median and longest."""
    rows = ["| what happens | recovered | all answers after (s) | HEALTHY after (s) |", "|---|---|---|---|"]
    for name, text in about.items():
        played = [line for line in lines if line.name == name]
        good = [line for line in played if not line.wrong]
        if played:
            times = [_times([getattr(line, key) for line in good]) for key in ("answers", "healthy")]
            rows.append(f"| {text} | {len(good)} of {len(played)} | {times[0]} | {times[1]} |")
    return "\n".join(rows) + "\n"


def _times(seconds: Sequence[float]) -> str:
    return f"{median(seconds):.0f}, at most {max(seconds):.0f}" if seconds else "-"


def summary(lines: Sequence[Line]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "machine": {"cores": os.cpu_count(), "load": os.getloadavg()[0]},
        "played": [asdict(line) for line in lines],
    }


class Bench:
    """The machine that is played on. What one that did not recover left is kept beside its run, and another is made."""

    def __init__(self, folder: Path, hardware: Hardware) -> None:
        self.folder = folder
        self.hardware = hardware
        self._place = folder / f"host-{os.getpid()}"
        self._host: LabHost | None = None

    def play(self, one: Misbehaviour, number: int) -> Line:
        """Once."""
        place = self.folder / f"{one.name}-{number}"
        shutil.rmtree(place, ignore_errors=True)
        try:
            played = one.play(self._machine(), place)
        except Exception as error:
            self._keep(place)
            return Line(one.name, number, str(error) or type(error).__name__)
        shutil.rmtree(place)
        return Line(one.name, number, "", round(played.answers, 1), round(played.healthy, 1))

    def _machine(self) -> LabHost:
        if self._host is None:
            self._host = LabHost(self.hardware, self._place)
            self._host.start()
        return self._host

    def _keep(self, place: Path) -> None:
        self.close()
        if self._place.exists():
            (self._place / "disk.qcow2").unlink(missing_ok=True)
            place.mkdir(parents=True, exist_ok=True)
            self._place.rename(place / "host")

    def close(self) -> None:
        """Safe to call twice."""
        if self._host is not None:
            self._host.close()
            self._host = None

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        shutil.rmtree(self._place, ignore_errors=True)


def main() -> int:
    known = {one.name: one for one in MISBEHAVIOURS}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    parser.add_argument("-n", dest="times", type=int, default=TIMES, help="how often each is played  [%(default)s]")
    options = parser.parse_args()
    if unknown := set(options.names) - known.keys():
        parser.error(f"no such misbehaviour: {', '.join(sorted(unknown))} (there are {', '.join(known)})")
    options.folder.mkdir(parents=True, exist_ok=True)
    record = options.folder / "recovery.jsonl"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with Bench(options.folder, Hardware.prepare(Store())) as bench:
        for name, number in left(read(record), options.names or known, options.times):
            line = bench.play(known[name], number)
            with record.open("a") as stream:
                stream.write(json.dumps(asdict(line)) + "\n")
            said = line.wrong.partition("\n")[0] or f"HEALTHY after {line.healthy:.0f} s"
            print(f"{name} {number}: {said}", file=sys.stderr, flush=True)
    lines = read(record)
    text = table(lines, {one.name: one.about for one in MISBEHAVIOURS})
    (options.folder / "recovery.md").write_text(text)
    (options.folder / "recovery.json").write_text(json.dumps(summary(lines), indent=1) + "\n")
    print(text, end="")
    return 1 if any(line.wrong for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
