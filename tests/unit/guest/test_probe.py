# SPDX-License-Identifier: GPL-2.0-only
"""Whose folders in /tmp are an agent's that is gone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.guest import probe


def folder(top: Path, name: str, keeper: bool = True, age: float = 2 * probe.OLD_SECONDS) -> Path:
    made = top / name
    (made / "harness/guest").mkdir(parents=True)
    if keeper:
        (made / probe.KEEPER).touch()
    then = made.stat().st_mtime - age
    os.utime(made, (then, then))
    return made


def test_only_what_an_agent_left_is_taken_away(tmp_path: Path) -> None:
    ours = folder(tmp_path, "xdna-Ab3dEf9h")
    folder(tmp_path, "xdna-firmware", keeper=False)
    folder(tmp_path, "xdna-`reboot`")
    folder(tmp_path, "xdna-firmwares")
    folder(tmp_path, "xdna-justmade", age=0)
    folder(tmp_path, "xdna-2justnow", age=0)
    (tmp_path / "xdna-linklink").symlink_to(ours)
    assert probe.left(str(tmp_path)) == {str(ours)}


def test_nor_is_what_another_user_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = folder(tmp_path, "xdna-Ab3dEf9h")
    monkeypatch.setattr(os, "getuid", lambda: -1)
    monkeypatch.delenv("SUDO_UID", raising=False)
    assert probe.left(str(tmp_path)) == ({str(ours)} if ours.stat().st_uid == 0 else set())
    monkeypatch.setenv("SUDO_UID", str(ours.stat().st_uid))
    assert probe.left(str(tmp_path)) == {str(ours)}, "sudo's user made it"
    monkeypatch.setenv("SUDO_UID", str(ours.stat().st_uid + 1))
    assert probe.left(str(tmp_path)) == set()
