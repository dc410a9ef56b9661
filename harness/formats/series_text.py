# SPDX-License-Identifier: GPL-2.0-only
"""A series as lines of text: what ``xdna-harness fetch`` prints. Every line is safe for a terminal."""

from __future__ import annotations

import json

from harness.log import printable
from harness.model.series import Patch, Series

MAX_FILES = 12


def describe(series: Series) -> list[str]:
    """Title and revision, where it comes from, checks, the patches with ids and files, trailers, notes."""
    lines = [_title(series)]
    facts = (
        ("from", series.spec),
        ("message-id", series.message_id),
        ("base-commit", series.base_commit),
        ("change-id", series.change_id),
        ("attestation", series.attestation or "none checked"),
        ("newer", f"v{series.newer_revision} is there" if series.newer_revision else None),
    )
    lines += [f"  {name + ':':<13} {value}" for name, value in facts if value]
    for number, patch in enumerate(series.patches, 1):
        lines += _patch(patch, number, len(series.patches))
    lines += _list("trailers", series.trailers) + _list("notes", series.notes)
    return [_flat(line) for line in lines]


def data(series: Series) -> str:
    """The same for programs: every field of the series; of each patch all but its mail."""
    told = {name: value for name, value in vars(series).items() if name != "patches"}
    patches = [{k: v for k, v in vars(patch).items() if k != "mail"} for patch in series.patches]
    return json.dumps({**told, "patches": patches}, indent=1)


def _title(series: Series) -> str:
    count = len(series.patches)
    revision = f"v{series.revision}, " if series.revision else ""
    return f"{series.title} ({revision}{count} {'patch' if count == 1 else 'patches'})"


def _patch(patch: Patch, number: int, count: int) -> list[str]:
    head = [f"  {number}/{count} {patch.subject}", f"      {patch.author}, patch-id {patch.patch_id}"]
    files = [f"      {name}" for name in patch.files[:MAX_FILES]]
    if len(patch.files) > MAX_FILES:
        files.append(f"      and {len(patch.files) - MAX_FILES} more files")
    return head + files


def _list(name: str, values: tuple[str, ...]) -> list[str]:
    return [f"  {name}:", *(f"      {value}" for value in values)] if values else []


def _flat(line: str) -> str:
    return printable(line.replace("\n", " ").replace("\t", " "))
