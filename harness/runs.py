# SPDX-License-Identifier: GPL-2.0-only
"""The runs in a folder, by the mail that they were for."""

from __future__ import annotations

from pathlib import Path

from harness.errors import UsageError
from harness.formats.events import load_events
from harness.formats.mail import read_mail
from harness.report import RUN_RECORDS, last


def of_mail(folder: Path, raw: bytes) -> Path | None:
    """The newest run of the series that this mail belongs to: it is its first mail, or answers it. UsageError: this is
    no mail, or has no message-id."""
    mail = read_mail(raw, "standard input")
    ids = {name for name in (mail.message_id, *mail.references) if name}
    if not ids:
        raise UsageError("the mail on standard input has no message-id", hint="pipe a patch mail as it was posted")
    runs = [path.parent for path in folder.glob(f"*/{RUN_RECORDS}") if _series(path) in ids]
    return max(runs, key=lambda run: (run / RUN_RECORDS).stat().st_mtime, default=None)


def _series(records: Path) -> str:
    """The message-id of a run's series; empty if it had none, or cannot be read."""
    try:
        events = load_events(records)
    except (OSError, ValueError):
        return ""
    return str(last(events, "series").get("message_id") or "").strip("<>")
