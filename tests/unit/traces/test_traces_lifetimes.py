# SPDX-License-Identifier: GPL-2.0-only
"""When a tensor's memory is needed, from the operations that ran."""

from __future__ import annotations

from harness.guest.trace import Step
from traces.lifetimes import Inference, Operation, compose, from_operations

SIZES = {"image": 3, "a": 10, "b": 20, "unused": 5, "out": 7}
OPERATIONS = (
    Operation(("image", "weight"), ("a",)),
    Operation(("a", "weight"), ("b", "unused")),
    Operation(("a", "b"), ("out",)),
)


def test_a_tensor_goes_after_its_last_reader_and_what_nobody_reads_at_once() -> None:
    made = from_operations(OPERATIONS, SIZES, ["image"], ["out"])
    told = [(step.tensor, step.size) for step in made.steps]
    assert told == [("image", 3), ("a", 10), ("b", 20), ("unused", 5), ("unused", 0), ("out", 7), ("a", 0), ("b", 0)]
    assert made.kept == ("image", "out")


def test_a_tensor_that_is_read_twice_by_one_operation_goes_once() -> None:
    twice = (Operation(("image",), ("a",)), Operation(("a", "a"), ("out",)))
    made = from_operations(twice, SIZES, ["image"], ["out"])
    assert made.steps.count(Step("a")) == 1


def test_weights_stay_and_results_go_one_inference_late() -> None:
    one = Inference((Step("x", 1), Step("y", 2), Step("x")), ("y",))
    told = [(step.tensor, step.size) for step in compose({"w": 9}, [one, one])]
    assert told == [
        ("weights/w", 9),
        ("1/x", 1),
        ("1/y", 2),
        ("1/x", 0),
        ("2/x", 1),
        ("2/y", 2),
        ("2/x", 0),
        ("1/y", 0),
    ]
