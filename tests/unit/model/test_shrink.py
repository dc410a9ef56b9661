# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from harness.model.shrink import Shrinker, Shrunk

Items = tuple[int, ...]


def less(number: int) -> list[int]:
    return list(dict.fromkeys(n for n in (0, number // 2, number - 1) if 0 <= n < number))


def shrunk(items: Sequence[int], shows: Callable[[Items], bool], most: int = 10**6, batch: int = 1) -> Shrunk[int]:
    def first(lists: Sequence[Items]) -> int | None:
        assert len(lists) <= batch
        return next((n for n, each in enumerate(lists) if shows(each)), None)

    return Shrinker(first, less, lambda asked: asked < most, batch).shrink(items)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_three_of_forty(batch: int) -> None:
    def shows(items: Items) -> bool:
        big = [n for n in items if n >= 10]
        return len(big) >= 2 and any(n % 2 for n in items)

    found = shrunk(range(40), shows, batch=batch)
    assert len(found.items) == 2
    assert shows(found.items)
    assert found.done
    assert found.asked < 250


def test_what_needs_all_stays() -> None:
    found = shrunk([1] * 9, lambda items: sum(items) == 9)
    assert found.items == (1,) * 9
    assert found.done


def test_what_needs_nothing_is_the_empty_list() -> None:
    assert shrunk(range(40), lambda items: True).items == ()
    assert shrunk([], lambda items: pytest.fail("asked")) == Shrunk((), 0, True)


def test_what_is_not_seen_again_stays_as_it_was() -> None:
    assert shrunk([3, 4], lambda items: False).items == (3, 4)


def test_what_shows_now_and_then_has_always_been_seen() -> None:
    for seed in range(50):
        chance, seen = random.Random(seed), {tuple(range(20))}

        def shows(items: Items, chance: random.Random = chance, seen: set[Items] = seen) -> bool:
            if 13 in items and chance.random() < 0.5:
                seen.add(items)
                return True
            return False

        found = shrunk(range(20), shows)
        assert found.items in seen
        assert 13 in found.items


def test_questions_run_out() -> None:
    found = shrunk(range(100), lambda items: 50 in items, most=5)
    assert found.asked == 5
    assert not found.done
    assert 50 in found.items
    assert len(found.items) < 100


def test_no_list_is_asked_twice() -> None:
    asked: list[Items] = []

    def shows(items: Items) -> bool:
        asked.append(items)
        return items.count(2) >= 2

    shrunk([2, 3, 2, 2, 1], shows)
    assert len(asked) == len(set(asked))
