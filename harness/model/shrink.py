# SPDX-License-Identifier: GPL-2.0-only
"""Make a list that shows something as short, and its elements as simple, as what may be asked allows. Pure.

First parts are left out, halves before quarters and so on (delta debugging, Zeller and Hildebrandt 2002, without its
tests of the parts alone); then each element that is left is made simpler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Shrunk(Generic[T]):
    """``items`` still show it. ``asked``: how many lists were tried. ``done``: nothing more can be left out or made
    simpler; else the questions ran out."""

    items: tuple[T, ...]
    asked: int
    done: bool


class _NoMore(Exception):
    """The questions ran out."""


class Shrinker(Generic[T]):
    """``first`` gets lists, the best first, and says which is the first that still shows it, or None; it may try them
    at the same time, so it gets up to ``batch``. It is asked about no list twice. ``smaller`` gives the simpler forms
    of an element; ``may_ask`` says after so many lists whether more may be tried.

    What shows it now and then only is shrunk too, if less far: what was found has always been seen to show it.
    """

    def __init__(
        self,
        first: Callable[[Sequence[tuple[T, ...]]], int | None],
        smaller: Callable[[T], Iterable[T]],
        may_ask: Callable[[int], bool],
        batch: int = 1,
    ) -> None:
        self._first = first
        self._smaller = smaller
        self._may_ask = may_ask
        self._batch = batch
        self._best: tuple[T, ...] = ()
        self._known: set[tuple[T, ...]] = set()
        self._asked = 0

    def shrink(self, items: Sequence[T]) -> Shrunk[T]:
        """The smallest that was found. ``items`` are taken to show it."""
        self._best = tuple(items)
        self._known.add(self._best)
        try:
            while self._shorten() | self._simplify():
                pass
        except _NoMore:
            return Shrunk(self._best, self._asked, False)
        return Shrunk(self._best, self._asked, True)

    def _shorten(self) -> bool:
        """Leave out what can be: whether anything was."""
        changed, parts = False, 2
        while self._best:
            items = self._best
            size = -(-len(items) // parts)
            if self._take(items[:start] + items[start + size :] for start in range(0, len(items), size)):
                changed, parts = True, max(2, parts - 1)
            elif size == 1:
                break
            else:
                parts = min(len(items), parts * 2)
        return changed

    def _simplify(self) -> bool:
        """Make each element simpler while that goes: whether any was."""
        changed, place = False, 0
        while place < len(self._best):
            items = self._best
            if self._take((*items[:place], less, *items[place + 1 :]) for less in self._smaller(items[place])):
                changed = True
            else:
                place += 1
        return changed

    def _take(self, candidates: Iterable[tuple[T, ...]]) -> bool:
        """Go on with the first of these that shows it. Raises _NoMore."""
        new = [each for each in dict.fromkeys(candidates) if each not in self._known]
        for start in range(0, len(new), self._batch):
            part = new[start : start + self._batch]
            if not self._may_ask(self._asked):
                raise _NoMore
            self._asked += len(part)
            self._known.update(part)
            found = self._first(part)
            if found is not None:
                self._best = part[found]
                return True
        return False
