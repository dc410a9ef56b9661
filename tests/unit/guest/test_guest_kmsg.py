# SPDX-License-Identifier: GPL-2.0-only
"""Kernel messages: records, gaps, and what else a read may answer."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from harness.guest import kmsg
from harness.guest.resident import WHOLE_LOG, kernel_log


def test_record() -> None:
    record = kmsg.parse(b"12,341,5140900,-;amdxdna 0000:00:05.0: [drm] text; more\n SUBSYSTEM=pci\n")
    assert record == kmsg.Record(341, 12, 5.1409, "amdxdna 0000:00:05.0: [drm] text; more")
    assert record.as_json() == {"seq": 341, "level": 12, "time": 5.1409, "text": record.text}


def test_newer_fields_and_odd_bytes() -> None:
    assert kmsg.parse(b"6,1,2,c,caller=T1;x\xff\n").text == "x\ufffd"


@pytest.mark.parametrize("data", [b"", b"6,1;", b"no record"])
def test_no_record(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a kernel message"):
        kmsg.parse(data)


def test_lost_records_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[bytes | OSError] = [
        b"6,10,0,-;a\n",
        b"6,11,0,-;b\n",
        BlockingIOError(),
        OSError(errno.EPIPE, "overtaken"),
        b"6,15,0,-;c\n",
        BlockingIOError(),
    ]

    def read(fd: int, size: int) -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    reader = kmsg.Reader(os.devnull)
    monkeypatch.setattr(os, "read", read)
    first, lost_first = reader.read()
    second, lost_second = reader.read()
    assert [record.seq for record in first] == [10, 11]
    assert [record.seq for record in second] == [15]
    assert (lost_first, lost_second) == (0, 3)
    reader.close()


@pytest.mark.parametrize(("whole", "told"), [(True, ["at boot", "now"]), (False, ["now"])])
def test_a_machine_that_lives_on_tells_of_its_boot_only_where_that_was_made_for_us(
    whole: bool, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [b"4,10,0,-;at boot\n"]

    def read(fd: int, size: int) -> bytes:
        if not answers:
            raise BlockingIOError
        return answers.pop(0)

    if whole:
        (tmp_path / WHOLE_LOG).touch()
    monkeypatch.setattr(os, "read", read)
    reader = kernel_log(tmp_path, os.devnull)
    answers.append(b"4,11,0,-;now\n")
    assert [record.text for record in reader.read()[0]] == told
