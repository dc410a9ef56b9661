# SPDX-License-Identifier: GPL-2.0-only
"""What a driver that was built with GCOV_PROFILE=y counted: fetched from each guest, summed on the host by gcov."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.errors import InfraError
from harness.formats import gcov
from harness.host import proc
from harness.model.session import Session

COUNTS = "/sys/kernel/debug/gcov"
FILE = "coverage.json"
FOLDER = "gcov"
GCOV_SECONDS = 60.0


def fetch(session: Session, folder: Path) -> bool:
    """Copy the guest's counts into ``folder``/gcov; False when it has none. Reading does not reset them."""
    status, listed = session.run(["find", COUNTS, "-name", "*.gcda"])
    names = listed.split() if status == 0 else []
    for name in names:
        target = folder / FOLDER / Path(name).name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(session.get(name))
    return bool(names)


def summed(objects: Path, lane: Path, tree: Path, old: Path | None, lost: Sequence[str]) -> str:
    """coverage.json of the guests of ``lane``. ``objects`` has the .gcno of the build, ``tree`` the driver's source,
    ``old`` that of the base lane. InfraError: gcov does not run or does not know the counts."""
    documents = [text for folder in sorted(lane.glob(f"boot-*/{FOLDER}")) for text in _documents(objects, folder)]
    try:
        found = gcov.read(documents)
    except (ValueError, KeyError) as error:
        raise InfraError(f"gcov does not print what we read: {error}") from error
    new = {name: gcov.added(_text(old / name), _text(tree / name)) for name in found} if old is not None else {}
    return gcov.dump(found, lost, {name: lines for name, lines in new.items() if lines})


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _documents(objects: Path, counts: Path) -> list[str]:
    """One guest's: a document for each object."""
    with tempfile.TemporaryDirectory() as scratch:
        for path in (*objects.glob("*.gcno"), *counts.glob("*.gcda")):
            shutil.copy(path, scratch)
        names = sorted(path.name for path in counts.glob("*.gcda"))
        argv = ["gcov", "--json-format", "--stdout", *names]
        done = proc.run(argv, what="reading the driver's counts", timeout=GCOV_SECONDS, cwd=Path(scratch))
    return [line for line in done.stdout.splitlines() if line.startswith("{")]
