# SPDX-License-Identifier: GPL-2.0-only
"""Append events to a record file: one JSON line each, on disk before the next thing happens."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.errors import InfraError
from harness.log import say


class Recorder:
    """An append-only record file. What an earlier process left in it stays; a line it was cut off in is dropped.

    Several threads may add.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.events: list[Mapping[str, Any]] = []
        self._lock = threading.Lock()
        self._reserved = 0
        self._mend()
        self._stream = path.open("a")

    def _mend(self) -> None:
        if not self.path.exists():
            return
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            os.truncate(self.path, len(whole))
        for line in whole.splitlines():
            try:
                self.events.append(json.loads(line))
            except ValueError:
                raise InfraError(
                    f"the record file {self.path} is damaged", hint="start again with another --out"
                ) from None

    def add(self, event: Mapping[str, Any]) -> None:
        """Write one event through to the disk."""
        with self._lock:
            try:
                self._stream.write(json.dumps(event) + "\n")
                self._stream.flush()
                os.fsync(self._stream.fileno())
            except OSError as error:
                raise InfraError(f"cannot write {self.path}: {error.strerror}", hint="free some disk space") from error
            self.events.append(event)

    def add_all(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Write these events, or none of them, whatever happens meanwhile."""
        partial = self.path.with_name(f".{self.path.name}.partial")
        with self._lock:
            try:
                lines = "".join(json.dumps(event) + "\n" for event in events)
                partial.write_bytes(self.path.read_bytes() + lines.encode())
                with partial.open("rb") as stream:
                    os.fsync(stream.fileno())
                partial.replace(self.path)
                self._stream.close()
                self._stream = self.path.open("a")
            except OSError as error:
                raise InfraError(f"cannot write {self.path}: {error.strerror}", hint="free some disk space") from error
            self.events.extend(events)

    def add_boot(self, event: Mapping[str, Any]) -> int:
        """Write a "boot" event with the next free number, and return that."""
        with self._lock:
            number = 1 + max((int(e["boot"]) for e in self.events if "boot" in e), default=0)
            self._reserved = max(number, self._reserved + 1)
            number = self._reserved
        self.add({"event": "boot", "boot": number, **event})
        return number

    def close(self) -> None:
        """What a full disk did not take was said when it was added; closing tries once more to write it."""
        with suppress(OSError):
            self._stream.close()


class RunRecords(Recorder):
    """The record file of a whole run, with what its report tells beside the answers."""

    def fact(self, name: str, text: str) -> None:
        """What the run was made with: a line of the report."""
        self.add({"event": "fact", "name": name, "text": text})

    def note(self, text: str) -> None:
        """What a reader should know; said at once, too."""
        say(f"note: {text}")
        self.add({"event": "note", "text": text})


def sizes(folder: Path) -> dict[Path, int]:
    """How long each record file below a folder is."""
    return {path: path.stat().st_size for path in folder.rglob("*.jsonl")}


def cut_back(folder: Path, before: Mapping[Path, int]) -> None:
    """Forget what was added to record files since; who has one open writes nothing more."""
    for path in sizes(folder):
        os.truncate(path, before.get(path, 0))
