# SPDX-License-Identifier: GPL-2.0-only
"""What a machine that died left behind, and what its console said: by mark, since nothing older is ours to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from harness.errors import InfraError
from harness.formats.pstore import FOLDERS, PATTERNS, crash_text, dumps
from harness.log import warn
from harness.targets.ssh.machine import Machine

MOST_FILES = 60


class Console(Protocol):
    """A machine's console, as text since a mark."""

    def mark(self) -> None: ...

    def since_mark(self) -> str: ...

    def close(self) -> None: ...


class Evidence:
    """Of one machine; ``console`` None: nobody listens to it."""

    def __init__(self, machine: Machine, console: Console | None = None) -> None:
        self.machine = machine
        self.console = console
        self._old: frozenset[str] | None = None
        """None: nobody has looked, and so nothing is known to be ours."""
        self._dump = ""
        """Where the machine keeps the memory of the kernel under test that crashed last."""

    def mark(self) -> None:
        """What is there now, or was said, is not ours."""
        self.mark_files()
        self.mark_console()

    def mark_files(self) -> None:
        """What is there now is not ours. A machine that does not answer leaves the old mark."""
        with suppress(InfraError):
            self._old = frozenset(self._names())

    def mark_console(self) -> None:
        if self.console is not None:
            self.console.mark()

    def collect(self, folder: Path) -> str:
        """What came since the mark: kept in ``folder``/crash, removed from pstore, which is small and would be full
        after a few crashes; returned as text of the crash. Nothing without a mark. The machine must answer."""
        files: Mapping[str, bytes] = {}
        if self._old is None:
            return ""
        with suppress(InfraError):
            new = [name for name in self._names() if name not in self._old][:MOST_FILES]
            files = self.machine.fetch(" ".join(map(_quoted, new))) if new else {}
            for name, data in files.items():
                keep(folder / "crash" / name.lstrip("/").replace("/", "_"), data)
            clear = [_quoted(name) for name in files if name.startswith(FOLDERS[0])]
            if clear:
                self.machine.root(f"rm -f -- {' '.join(clear)}", 60.0)
            self._keep_last(dumps(files))
        return crash_text(files)

    def _keep_last(self, new: Sequence[str]) -> None:
        """Each has up to all of the machine's memory. Whoever wants to look into one wants the last."""
        for dump in new:
            if self._dump and self._dump != dump:
                self.machine.root(f"rm -rf -- {_quoted(self._dump)}", 60.0)
            self._dump = dump

    def said(self) -> str:
        """The console since its mark."""
        return self.console.since_mark() if self.console is not None else ""

    def close(self) -> None:
        """Listen to the console no more; say what is left on the machine for a person."""
        if self._dump:
            self.machine.note(f"{self.machine.name}: {self._dump} has the memory of the kernel that crashed last")
        if self.console is not None:
            self.console.close()

    def _names(self) -> list[str]:
        script = f'for f in {PATTERNS}; do [ -f "$f" ] && echo "$f"; done; :'
        return self.machine.root(script, 60.0)[1].splitlines()


def keep(place: Path, data: bytes) -> None:
    """Write down what a machine had. A full disk, or a name that is none here, is said, and costs only this file."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    except OSError as error:
        warn(f"cannot keep {place.name[:80]} in {place.parent}: {error.strerror}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
