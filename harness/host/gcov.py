# SPDX-License-Identifier: GPL-2.0-only
"""Runs gcov, which comes with gcc, over what one guest counted."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from harness.host import proc

GCOV_SECONDS = 60.0


def documents(objects: Path, counts: Path) -> list[str]:
    """A JSON document for each .gcda in ``counts``; ``objects`` has the .gcno of the same build. InfraError: no gcov,
    or it fails. The copies are there because gcov looks for both files beside each other."""
    names = sorted(path.name for path in counts.glob("*.gcda"))
    if not names:
        return []
    with tempfile.TemporaryDirectory() as scratch:
        for path in (*objects.glob("*.gcno"), *counts.glob("*.gcda")):
            shutil.copy(path, scratch)
        argv = ["gcov", "--json-format", "--stdout", *names]
        done = proc.run(argv, what="reading the driver's counts", timeout=GCOV_SECONDS, cwd=Path(scratch))
    return [line for line in done.stdout.splitlines() if line.startswith("{")]
