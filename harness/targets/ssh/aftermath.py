# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel did when its suite had ended: work that was put off may crash, or complain, when nobody asks it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import InfraError
from harness.formats.machine_facts import Facts
from harness.formats.pstore import since
from harness.formats.splat import find_splats, task_of
from harness.model.result import KERNEL_LOG
from harness.model.session import Lost
from harness.targets.ssh.evidence import Evidence
from harness.targets.ssh.machine import Machine

Late = Callable[[Mapping[str, Any], Lost, bool], None]
"""Takes down what a kernel did behind its last test (boot, attempt, id); the flag: it has died, and not only
complained."""
DMESG = "dmesg -k 2>/dev/null || dmesg"
"""Where it can be told apart: without what programs write there."""
UNLOADS = "rmmod"
"""The task in which a driver ends."""
TICK = 5e-7
"""Less than what the kernel's time stamps can tell apart."""


def nobody(place: Mapping[str, Any], lost: Lost, died: bool) -> None:
    """For a session whose results nobody takes down."""


class Aftermath:
    """Of one machine: of the session that ended there last."""

    def __init__(self, machine: Machine, evidence: Evidence) -> None:
        self.machine = machine
        self.evidence = evidence
        self._left: Facts | None = None
        self._since = 0.0
        self._folder = Path()
        self._late: Callable[[Lost, bool], None] = partial(nobody, {})

    def begin(self, facts: Facts, uptime: float, folder: Path, late: Callable[[Lost, bool], None]) -> None:
        """A suite has ended in this boot, and has told what the kernel said until ``uptime``, seconds since its boot.
        ``folder`` receives what a crash leaves, ``late`` is told of it."""
        self._left, self._since, self._folder, self._late = facts, uptime + TICK, folder, late

    def forget(self) -> None:
        """What comes now is our own doing."""
        self._left = None

    @property
    def waits(self) -> bool:
        """Whether there is something to look at."""
        return self._left is not None

    def look(self, now: Facts, cycled: bool = False, last: bool = True) -> bool:
        """To be called with what the machine says now, before anything else is done to it: whether something happened.
        The report is told. ``cycled``: we have switched it off meanwhile; then only what it left speaks against its
        kernel. Unless it is the ``last`` look, one that finds nothing is followed by others."""
        left, self._left = self._left, None
        if left is None:
            return False
        if now.boot_id != left.boot_id:
            text, console = self.evidence.collect(self._folder), self.evidence.said()
            later = since(text, self._since) or since(console, self._since)
            said = later or console or text
            if cycled and not find_splats(later):
                self.machine.note(
                    f"{self.machine.name} was silent behind the last test and switched off: nobody knows why"
                )
                return True
            self._tell(left, f"went down, and {now.release} has come up since", said, died=True)
            return True
        said = since(self._dmesg(), self._since)
        if not find_splats(said):
            self._left = None if last else left
            return False
        self._tell(left, "complained", said, died=False)
        return True

    def _dmesg(self) -> str:
        with suppress(InfraError):
            return self.machine.root(DMESG, 60.0)[1]
        return ""

    def _tell(self, left: Facts, what: str, said: str, *, died: bool) -> None:
        text = f"{self.machine.name}: behind the last test {left.release} {what}: {headline(said)}"
        self.machine.note(text)
        self._late(Lost(False, text, said), died)


def whose(place: Mapping[str, Any], said: str) -> Mapping[str, Any]:
    """Who answers for what a kernel said behind its last test, which ran at ``place``: that one, or the kernel's log
    where the driver was being unloaded. That happens behind any test; which one came last is chance."""
    splats = find_splats(said)
    return {**place, "id": KERNEL_LOG} if splats and task_of(splats[0].text) == UNLOADS else place


def headline(text: str) -> str:
    """The first thing in what a kernel said that is worth a look."""
    splats = find_splats(text)
    lines = [splats[0].title] if splats else [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else "it left no word"
