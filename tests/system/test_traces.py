# SPDX-License-Identifier: GPL-2.0-only
"""The suite's traces are what the frameworks run today, tensor by tensor."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from harness.guest.trace import Trace, load

FOLDER = Path(__file__).parents[1] / "target" / "traces"


@pytest.mark.parametrize(
    ("model", "needs"),
    [
        ("onnx_runtime", ("onnx", "onnxruntime")),
        ("litert", ("ai_edge_litert", "flatbuffers")),
        ("pytorch", ("torch",)),
    ],
)
def test_a_trace_comes_out_the_same_again(model: str, needs: tuple[str, ...]) -> None:
    for name in needs:
        pytest.importorskip(name, reason=f"needs {name}: extras traces and torch")
    made: Trace = import_module(f"traces.{model}").record()
    kept = load(FOLDER, made.name)
    if made.made_with != kept.made_with and made.steps != kept.steps:
        pytest.skip(f"made with {kept.made_with}; {made.made_with} runs it otherwise: 'python -m traces' makes it anew")
    assert (made.model, made.batches) == (kept.model, kept.batches)
    assert made.steps == kept.steps
