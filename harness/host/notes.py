# SPDX-License-Identifier: GPL-2.0-only
"""Small files that one run leaves for the next, beside the store's entries. A full disk or a power failure may cut
anything that is written in place: a note is whole or as it was, and one that cannot be read is not there."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.errors import InfraError


def write(path: Path, text: str) -> None:
    """Make, or replace, a note. InfraError: disk."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        with partial.open("w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        hint = "free some disk space: 'xdna-harness clean' empties the cache"
        raise InfraError(f"cannot write {path}: {error.strerror or error}", hint=hint) from error


def settle(paths: Iterable[Path]) -> None:
    """What a note is about to vouch for is on the disk. Links are not followed."""
    for path in paths:
        with suppress(FileNotFoundError, IsADirectoryError):
            if not path.is_symlink():
                with path.open("rb") as stream:
                    os.fsync(stream.fileno())


def read(path: Path) -> str:
    """What a note says; empty if it is not there, or holds what nobody wrote (zeros, after a power failure)."""
    try:
        text = path.read_text()
    except (FileNotFoundError, UnicodeDecodeError):
        return ""
    return "" if "\0" in text else text


def read_json(path: Path) -> Any:
    """The same of JSON; None if there is none."""
    try:
        return json.loads(read(path))
    except ValueError:
        return None
