# SPDX-License-Identifier: GPL-2.0-only
"""What a driver that was built with GCOV_PROFILE=y counted: fetched from each guest, summed on the host by gcov."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.errors import InfraError
from harness.formats import gcov
from harness.host.gcov import documents
from harness.model.session import Session

COUNTS = "/sys/kernel/debug/gcov"
FILE = "coverage.json"
FOLDER = "gcov"


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
    printed = [text for folder in sorted(lane.glob(f"boot-*/{FOLDER}")) for text in documents(objects, folder)]
    try:
        found = gcov.read(printed)
    except (ValueError, KeyError) as error:
        raise InfraError(f"gcov does not print what we read: {error}") from error
    new = {name: gcov.added(_text(old / name), _text(tree / name)) for name in found} if old is not None else {}
    return gcov.dump(found, lost, {name: lines for name, lines in new.items() if lines})


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
