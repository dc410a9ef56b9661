# SPDX-License-Identifier: GPL-2.0-only
"""What a target offers once a kernel runs on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol


@dataclass(frozen=True)
class SuiteRequest:
    """Which tests to run: a suite, ids (None: all that the suite has), pytest's -k expression, and how long
    each may take.

    ``limit`` is in seconds and holds inside the target; a target that is silent for longer than that and some grace is
    taken for lost. ``attempt`` counts from 1 and goes into every event, ``boot`` names the guest. ``files``: only the
    tests of these files (none: of all); ``quick``: only those that are marked so. ``armed``: end with a test in which a
    detector of the kernel went silent, ``halting``: with the first test that fails; the rest is for a fresh guest.
    ``kmemleak``: look for lost memory at the end, where the kernel can. ``counts``: each "test-end" carries what the
    driver counted. ``script``: what the random walk does (harness/model/walk.py). ``traced``: each "test-end" carries
    what the system calls answered and what driver and firmware said to each other.
    """

    suite: str
    tests: tuple[str, ...] | None = None
    select: str = ""
    attempt: int = 1
    boot: int = 1
    limit: float = 60.0
    files: tuple[str, ...] = ()
    quick: bool = False
    armed: bool = False
    kmemleak: bool = False
    halting: bool = False
    counts: bool = False
    script: str = ""
    traced: bool = False


class Start(StrEnum):
    """From what a guest starts: a boot, or one of the two saved states.

    KERNEL is a booted kernel without an NPU, in which the driver still has to be loaded; DRIVER has the driver loaded
    and its device suspended. A start that does not work gives way to the one below it.
    """

    COLD = "cold"
    KERNEL = "kernel"
    DRIVER = "driver"


@dataclass(frozen=True)
class Lost:
    """The target stopped answering. ``ours``: the lab is at fault, not the kernel."""

    ours: bool
    evidence: str
    console: str


class SessionLost(Exception):
    """Raised by a session whose target does not answer any more."""

    def __init__(self, lost: Lost) -> None:
        super().__init__(lost.evidence)
        self.lost = lost


class Session(Protocol):
    """A target with the right kernel and driver, ready to run things. Raises SessionLost when it dies."""

    release: str

    def run(self, argv: Sequence[str], timeout: float = 60.0) -> tuple[int, str]: ...

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None: ...

    def get(self, path: str) -> bytes: ...

    def suite(self, request: SuiteRequest) -> Iterator[Mapping[str, Any]]:
        """Run tests; yields the events of the port (see harness/README.md, "The port") as they come."""
        ...

    def console(self) -> str: ...

    def alive(self) -> bool: ...

    def capabilities(self) -> frozenset[str]: ...
