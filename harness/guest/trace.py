# SPDX-License-Identifier: GPL-2.0-only
"""What a model asks of a heap: its tensors' sizes, in the order in which they come and go.

A trace is recorded from a run on the CPU (``python -m traces``) and replayed on the device heap
(:mod:`harness.guest.replay`). This is the format of tests/target/traces/*.json, one step a line:

    {"name": .., "made_with": "onnxruntime 1.32.0", "model": words, "batches": [1, 8, ..], "steps": [
    ["+", "weights/conv1", 3456],       bytes are needed from here on
    ["-", "2/relu1"],                   and not any more
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Step:
    """``tensor`` comes, with so many bytes; or goes, when ``size`` is 0."""

    tensor: str
    size: int = 0


@dataclass(frozen=True)
class Trace:
    """The tensors of one model at ``batches`` (samples per inference, in the order in which they ran)."""

    name: str
    made_with: str
    model: str
    batches: tuple[int, ...]
    steps: tuple[Step, ...]

    def peak(self, granule: int) -> int:
        """The most bytes that are needed at once, each tensor rounded up to ``granule``.

        Raises ValueError when a tensor comes twice, or goes and was not there.
        """
        live: dict[str, int] = {}
        most = now = 0
        for step in self.steps:
            if (step.tensor in live) == bool(step.size):
                raise ValueError(f"{self.name}: {step} does not follow from the steps before it")
            if step.size:
                live[step.tensor] = -(-step.size // granule) * granule
                now += live[step.tensor]
            else:
                now -= live.pop(step.tensor)
            most = max(most, now)
        return most

    def text(self) -> str:
        """As a file has it."""
        head = {"name": self.name, "made_with": self.made_with, "model": self.model, "batches": list(self.batches)}
        steps = [json.dumps(["+", s.tensor, s.size] if s.size else ["-", s.tensor]) for s in self.steps]
        return f'{json.dumps(head)[:-1]}, "steps": [\n' + ",\n".join(steps) + "\n]}\n"


def parse(text: str) -> Trace:
    """A trace from the text of its file. Raises ValueError, KeyError or TypeError when it is none."""
    data = json.loads(text)
    steps = tuple(_step(entry) for entry in data["steps"])
    return Trace(str(data["name"]), str(data["made_with"]), str(data["model"]), tuple(data["batches"]), steps)


def _step(entry: Sequence[str | int]) -> Step:
    if entry[0] == "-":
        return Step(str(entry[1]))
    size = int(entry[2])
    if entry[0] != "+" or size <= 0:
        raise ValueError(f"no step of a trace: {entry}")
    return Step(str(entry[1]), size)


def names(folder: Path) -> list[str]:
    """The traces that ``folder`` holds."""
    return sorted(path.stem for path in folder.glob("*.json"))


def load(folder: Path, name: str) -> Trace:
    """The trace called ``name``."""
    return parse((folder / f"{name}.json").read_text())
