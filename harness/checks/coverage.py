# SPDX-License-Identifier: GPL-2.0-only
"""What a driver that was built with GCOV_PROFILE=y counted: fetched from each guest, summed on the host by gcov."""

from __future__ import annotations

import base64
import tempfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import InfraError
from harness.formats import gcov
from harness.host.gcov import documents
from harness.model.session import Session
from harness.model.tree import Tree

COUNTS = "/sys/kernel/debug/gcov"
FILE = "coverage.json"
FOLDER = "gcov"
UAPI = "include/uapi/drm/amdxdna_accel.h"


def fetch(session: Session, folder: Path) -> bool:
    """Copy the guest's counts into ``folder``/gcov; False when it has none. Reading does not reset them."""
    status, listed = session.run(["find", COUNTS, "-name", "*.gcda"])
    names = listed.split() if status == 0 else []
    for name in names:
        target = folder / FOLDER / Path(name).name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(session.get(name))
    return bool(names)


def summed(objects: Path, lane: Path, tree: Tree, old: Tree | None, lost: Sequence[str]) -> str:
    """coverage.json of the guests of ``lane``. ``objects`` has the .gcno of the build, ``tree`` the driver's source,
    ``old`` that of the base lane. InfraError: gcov does not run or does not know the counts."""
    printed = [text for folder in sorted(lane.glob(f"boot-*/{FOLDER}")) for text in documents(objects, folder)]
    try:
        found = gcov.read(printed)
    except (ValueError, KeyError) as error:
        raise InfraError(f"gcov does not print what we read: {error}") from error
    new = {name: gcov.added(_text(old.file(name)), _text(tree.file(name))) for name in found} if old is not None else {}
    return gcov.dump(found, lost, {name: lines for name, lines in new.items() if lines})


def by_test(objects: Path, events: Iterable[Mapping[str, Any]]) -> dict[str, gcov.Coverage]:
    """What each test of these events counted; a guest that was lost took its last test's counts along. InfraError: gcov
    does not run or does not know the counts."""
    found: dict[str, list[gcov.Coverage]] = {}
    for event in events:
        if event.get("event") == "test-end" and event.get("gcov"):
            found.setdefault(str(event["id"]), []).append(_counted(objects, event["gcov"]))
    try:
        return {test: gcov.merged(counted) for test, counted in found.items()}
    except ValueError as error:
        raise InfraError(f"gcov does not print what we read: {error}") from error


def _counted(objects: Path, files: Mapping[str, str]) -> gcov.Coverage:
    with tempfile.TemporaryDirectory(prefix="xdna-gcov-") as scratch:
        for name, text in files.items():
            (Path(scratch) / Path(name).name).write_bytes(zlib.decompress(base64.b64decode(text)))
        try:
            return gcov.read(documents(objects, Path(scratch)))
        except (ValueError, KeyError) as error:
            raise InfraError(f"gcov does not print what we read: {error}") from error


def sources(tree: Path) -> dict[str, str]:
    """The driver's files in a kernel's tree, and what it tells user space, by path in that tree. Bytes that are no
    UTF-8 are surrogates."""
    paths = [*tree.glob(f"{gcov.FOLDER}/*.[ch]"), tree / UAPI]
    found = {str(path.relative_to(tree)): path for path in sorted(paths) if path.is_file()}
    return {name: path.read_bytes().decode(errors="surrogateescape") for name, path in found.items()}


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
