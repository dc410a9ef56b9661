# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import pytest

from harness.guest.hunt.steps import STEPS
from harness.model.script import KEYS, Step, read, smaller, step, write
from harness.model.walk import DEAR_WAYS, walk


def test_the_same_seed_is_the_same_script() -> None:
    assert walk(7) == walk(7)
    assert walk(7) != walk(8)
    assert [len(walk(seed, 25)) for seed in range(20)] == [25] * 20


def test_walks_do_everything_the_guest_knows() -> None:
    done = {one.do for seed in range(300) for one in walk(seed)}
    assert done == KEYS.keys() == STEPS.keys()


def test_few_steps_of_a_walk_cost_seconds() -> None:
    for seed in range(300):
        steps = [dict(one.about) | {"do": one.do} for one in walk(seed, 200)]
        dear = [s for s in steps if s["do"] == "victim" or s.get("what") == "hang" or s.get("way") in DEAR_WAYS]
        assert len(dear) <= 3


def test_a_script_survives_its_text() -> None:
    for seed in range(50):
        assert read(write(walk(seed))) == walk(seed)
    assert read('# a remark\n\n{"do": "sleep"}\n') == (step("sleep"),)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("nonsense", "line 1 is no step"),
        ('["open"]', "line 1 is no step"),
        ('{"do": "dance"}', "there is no step 'dance'"),
        ('{"do": "map", "file": 0}', "map needs slot"),
        ('{"do": "map", "file": 0, "slot": [1]}', "numbers and names only"),
    ],
)
def test_a_script_that_is_none(line: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read(line)


def test_smaller_steps_are_smaller() -> None:
    one = step("bo", file=2, kind="dev", kib=64, fail=3)
    forms = list(smaller(one))
    assert forms[-1] == one.without("fail")
    assert one.but("file", 0) in forms
    assert one.but("kib", 32) in forms
    assert all(form != one for form in forms)
    assert not list(smaller(step("sleep")))


def test_smaller_comes_to_an_end() -> None:
    todo: list[Step] = list(walk(3)[:5])
    for _ in range(2000):
        if not todo:
            return
        forms = list(smaller(todo.pop()))
        todo += forms[:1]
    pytest.fail("a step is made simpler for ever")
