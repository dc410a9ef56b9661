# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.report import RUN_RECORDS
from harness.runs import of_mail


def run(folder: Path, name: str, message_id: str | None, age: int = 0) -> Path:
    records = folder / name / RUN_RECORDS
    records.parent.mkdir(parents=True)
    records.write_text(json.dumps({"event": "series", "title": "a", "message_id": message_id}) + "\n")
    os.utime(records, (1000 - age, 1000 - age))
    return records.parent


def mail(message_id: str, answers: str = "") -> bytes:
    reply = f"In-Reply-To: <{answers}>\n" if answers else ""
    return f"From: A <a@example.org>\nSubject: [PATCH 1/2] x\nMessage-ID: <{message_id}>\n{reply}\nbody\n".encode()


def test_the_newest_run_of_a_mails_series_is_found(tmp_path: Path) -> None:
    run(tmp_path, "old", "cover@x", age=5)
    new = run(tmp_path, "new", "cover@x")
    run(tmp_path, "other", "other@x")
    run(tmp_path, "kernel", None)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / RUN_RECORDS).write_bytes(b"\xff{")
    assert of_mail(tmp_path, mail("cover@x")) == new
    assert of_mail(tmp_path, mail("one@x", answers="cover@x")) == new
    assert of_mail(tmp_path, mail("nobody@x")) is None
    assert of_mail(tmp_path / "missing", mail("cover@x")) is None


def test_what_is_no_mail_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no message-id"):
        of_mail(tmp_path, b"Subject: x\n\nhello\n")
