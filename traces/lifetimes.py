# SPDX-License-Identifier: GPL-2.0-only
"""From what a framework ran to what a heap would be asked: when each tensor's memory is needed. Pure.

The weights come first and stay. An application reads a result while the next inference runs: results and inputs go
one inference late, everything between them after its last use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.guest.trace import Step


@dataclass(frozen=True)
class Operation:
    """One operation that ran, and the names of the tensors that it read and wrote."""

    reads: tuple[str, ...]
    writes: tuple[str, ...]


@dataclass(frozen=True)
class Inference:
    """One inference, as steps of its own tensors. ``kept`` are those that are still there at its end."""

    steps: tuple[Step, ...]
    kept: tuple[str, ...]


def from_operations(
    operations: Sequence[Operation], sizes: Mapping[str, int], inputs: Sequence[str], results: Sequence[str]
) -> Inference:
    """An inference from the operations in the order in which they ran.

    ``sizes``: bytes of every tensor that belongs to this inference; weights are not among them. A tensor goes after
    the last operation that reads it, or at once when none does; ``inputs`` and ``results`` stay.
    """
    last = {name: number for number, operation in enumerate(operations) for name in operation.reads}
    stay = {*inputs, *results}
    steps = [Step(name, sizes[name]) for name in inputs]
    for number, operation in enumerate(operations):
        written = [name for name in operation.writes if name in sizes]
        steps += [Step(name, sizes[name]) for name in written]
        done = dict.fromkeys(name for name in (*operation.reads, *written) if name in sizes and name not in stay)
        steps += [Step(name) for name in done if last.get(name, number) == number]
    return Inference(tuple(steps), (*inputs, *results))


def compose(weights: Mapping[str, int], inferences: Sequence[Inference]) -> tuple[Step, ...]:
    """A whole trace: the weights, then one inference after the other; tensors are called after the inference that
    they belong to (``3/relu2``). What the last one kept stays, as the weights do."""
    steps = [Step(f"weights/{name}", size) for name, size in weights.items()]
    old: list[Step] = []
    for number, inference in enumerate(inferences, 1):
        steps += [Step(f"{number}/{step.tensor}", step.size) for step in inference.steps]
        steps += old
        old = [Step(f"{number}/{name}") for name in inference.kept]
    return tuple(steps)
