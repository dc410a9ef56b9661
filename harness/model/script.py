# SPDX-License-Identifier: GPL-2.0-only
"""What a guest is to do, step by step, as text that a person can read and change.

Any part of a script is a script: a step whose condition does not hold does nothing. What each step does, and what it
needs, stands in harness/guest/hunt/steps.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

Value = int | str

KEYS: dict[str, tuple[str, ...]] = {
    "open": ("file",),
    "close": ("file", "keep"),
    "chunk": ("file", "slot", "units"),
    "bo": ("file", "slot", "kind", "kib"),
    "user": ("file", "slot", "kind", "pages", "hole"),
    "map": ("file", "slot"),
    "unmap": ("file", "slot"),
    "cut": ("file", "slot"),
    "protect": ("file", "slot", "prot"),
    "free": ("file", "slot"),
    "sync": ("file", "slot", "offset", "kib", "back"),
    "export": ("file", "slot", "dma_buf"),
    "import": ("file", "slot", "dma_buf"),
    "forget": ("dma_buf",),
    "name": ("file", "slot", "name"),
    "find": ("file", "slot", "name"),
    "context": ("file", "context", "columns"),
    "destroy": ("file", "context"),
    "run": ("file", "context", "what"),
    "chain": ("file", "context", "commands"),
    "packet": ("file", "context", "opcode", "count", "word"),
    "attach": ("file", "context", "slot"),
    "detach": ("file", "context", "slot"),
    "info": ("file", "what", "size"),
    "array": ("file", "what", "size", "count"),
    "columns": ("file", "size"),
    "usage": ("file",),
    "firmware": ("way",),
    "sleep": (),
    "fork": ("file", "what"),
    "victim": ("units", "context", "hang"),
}
"""What each step must have. Any may have ``fail`` and ``beside``; run: ``slot``, ``leave``; firmware: ``opcode``,
``skip``."""


@dataclass(frozen=True)
class Step:
    """One step: what is done, and small numbers or names by key, in order.

    ``fail``: this allocation of the driver, from 1, fails in it. ``beside``: it is done at the same time as the next.
    """

    do: str
    about: tuple[tuple[str, Value], ...] = ()

    @property
    def line(self) -> str:
        """A line of a script."""
        return json.dumps({"do": self.do, **dict(self.about)})

    def but(self, key: str, value: Value) -> Step:
        """The step with another value."""
        return replace(self, about=tuple((k, value if k == key else v) for k, v in self.about))

    def without(self, key: str) -> Step:
        return replace(self, about=tuple((k, v) for k, v in self.about if k != key))


Script = tuple[Step, ...]


def step(do: str, **about: Value) -> Step:
    return Step(do, tuple(about.items()))


def write(script: Iterable[Step]) -> str:
    """A script as text: JSON lines."""
    return "".join(f"{each.line}\n" for each in script)


def read(text: str) -> Script:
    """A script from text; empty lines and those that begin with # are skipped. Raises ValueError, which names the
    line."""
    return tuple(_steps(text))


def _steps(text: str) -> Iterator[Step]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            raw = json.loads(line)
        except ValueError:
            raw = None
        if not isinstance(raw, dict) or not isinstance(raw.get("do"), str):
            raise ValueError(f'line {number} is no step: {line[:60]!r}; one is {{"do": "open", "file": 0}}')
        if raw["do"] not in KEYS:
            raise ValueError(f"line {number}: there is no step {raw['do']!r}; there are {', '.join(sorted(KEYS))}")
        missing = [key for key in KEYS[raw["do"]] if key not in raw]
        if missing:
            raise ValueError(f"line {number}: {raw['do']} needs {', '.join(missing)}")
        about = [(key, value) for key, value in raw.items() if key != "do"]
        if not all(isinstance(value, int | str) for _, value in about):
            raise ValueError(f"line {number}: a step has numbers and names only")
        yield Step(raw["do"], tuple(about))


def smaller(one: Step) -> Iterator[Step]:
    """The same step, simpler: without failing or company, with smaller numbers. The simplest first."""
    for key, value in one.about:
        if key in ("fail", "beside"):
            yield one.without(key)
        elif isinstance(value, int):
            for less in dict.fromkeys((0, 1, value // 2)):
                if less < value:
                    yield one.but(key, less)
