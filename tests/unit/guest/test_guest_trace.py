# SPDX-License-Identifier: GPL-2.0-only
"""Traces: the format, and what the suite brings along."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.guest.trace import Step, Trace, load, names, parse

FOLDER = Path(__file__).parents[2] / "target" / "traces"
MIB = 1 << 20
SMALL = Trace("small", "hand 1.0", "two tensors", (1, 2), (Step("a", 5), Step("b", 4097), Step("a"), Step("c", 1)))


def test_a_file_gives_the_trace_back() -> None:
    assert parse(SMALL.text()) == SMALL
    assert '\n["+", "b", 4097],\n["-", "a"],\n' in SMALL.text()


@pytest.mark.parametrize("step", ['["+", "a", 0]', '["+", "a", -4]', '["*", "a", 4]'])
def test_what_is_no_step_is_refused(step: str) -> None:
    with pytest.raises(ValueError, match="no step of a trace"):
        parse(f'{{"name": "x", "made_with": "", "model": "", "batches": [1], "steps": [{step}]}}')


def test_the_peak_counts_whole_granules() -> None:
    assert SMALL.peak(1) == 5 + 4097
    assert SMALL.peak(4096) == 3 * 4096


@pytest.mark.parametrize("last", [Step("b", 1), Step("a"), Step("never")])
def test_tensors_come_once_and_go_once(last: Step) -> None:
    with pytest.raises(ValueError, match="does not follow"):
        Trace("wrong", "", "", (), (*SMALL.steps, last)).peak(1)


def test_the_suite_has_traces_of_three_frameworks() -> None:
    made = {load(FOLDER, name).made_with.split()[0] for name in names(FOLDER)}
    assert made == {"onnxruntime", "ai-edge-litert", "torch"}


@pytest.mark.parametrize("name", names(FOLDER))
def test_a_trace_of_the_suite_needs_a_few_chunks(name: str) -> None:
    """More than one, or there is nothing to grow; few, since a chunk costs up to 2 s to map under emulation."""
    trace = load(FOLDER, name)
    assert trace.name == name
    assert len(set(trace.batches)) > 3
    assert 64 * MIB < trace.peak(4096) < 192 * MIB
