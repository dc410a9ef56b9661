# SPDX-License-Identifier: GPL-2.0-only
"""What a driver that was built with GCOV_PROFILE=y counted: told with each test, read on the host by gcov. A guest that
was lost takes along only what its last test counted."""

from __future__ import annotations

import base64
import os
import tempfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from harness.errors import InfraError
from harness.formats import gcov
from harness.host.gcov import documents
from harness.model.tree import Tree

FILE = "coverage.json"
UAPI = "include/uapi/drm/amdxdna_accel.h"


def summed(objects: Path, events: Iterable[Mapping[str, Any]], tree: Tree, old: Tree | None) -> str:
    """coverage.json of a lane. ``objects`` has the .gcno of the build, ``tree`` the driver's source, ``old`` that of
    the base lane. InfraError: gcov does not run or does not know the counts."""
    told = list(events)
    found = _total(_counts(objects, [event["gcov"] for event in told if event.get("gcov")]))
    new = {name: gcov.added(_text(old.file(name)), _text(tree.file(name))) for name in found} if old is not None else {}
    lost = [str(event["id"]) for event in told if event.get("event") == "lost" and event.get("id")]
    return gcov.dump(found, lost, {name: lines for name, lines in new.items() if lines})


def by_test(objects: Path, events: Iterable[Mapping[str, Any]]) -> dict[str, gcov.Coverage]:
    """What each test of these events counted. InfraError: as of :func:`summed`."""
    ends = [event for event in events if event.get("event") == "test-end" and event.get("gcov")]
    found: dict[str, list[gcov.Coverage]] = {}
    for event, counted in zip(ends, _counts(objects, [event["gcov"] for event in ends]), strict=True):
        found.setdefault(str(event["id"]), []).append(counted)
    return {test: _total(counted) for test, counted in found.items()}


def _total(counted: Sequence[gcov.Coverage]) -> gcov.Coverage:
    try:
        return gcov.merged(counted)
    except ValueError as error:
        raise InfraError(f"gcov does not print what we read: {error}") from error


def _counts(objects: Path, told: Sequence[Mapping[str, str]]) -> list[gcov.Coverage]:
    """gcov takes a tenth of a second for each."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda files: _counted(objects, files), told))


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
