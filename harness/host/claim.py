# SPDX-License-Identifier: GPL-2.0-only
"""One at a time: a file that says who has it, and since when. A process that dies lets go of it."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from harness.errors import InfraError


@contextmanager
def claim(path: Path, what: str) -> Iterator[None]:
    """Have ``path`` to ourselves. InfraError, which names process and time, when somebody else has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            found = re.fullmatch(r"(\d+) ([\d: -]{19})\n?", handle.read(100))
            who = f"process {found[1]} since {found[2]}" if found else "another process"
            hint = "wait until it ends, or end it"
            raise InfraError(f"{what} runs already: {who} has {path}", hint=hint) from None
        handle.truncate(0)
        handle.write(f"{os.getpid()} {datetime.now():%Y-%m-%d %H:%M:%S}\n")
        handle.flush()
        yield
        handle.truncate(0)
