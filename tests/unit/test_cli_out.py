# SPDX-License-Identifier: GPL-2.0-only
"""A folder that can be none is said before anything is done, by every verb that fills one."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.cli_out import Folder, filling
from harness.errors import InfraError

FILLS = [
    (name, option.opts[0]) for name, verb in sorted(cli.commands.items()) for option in verb.params
    if "DIR" in str(option.metavar) and option.opts[0] in ("--out", "--state")
]  # fmt: skip


@pytest.mark.parametrize(("verb", "option"), FILLS)
@pytest.mark.parametrize("place", ["file", "file/run", "file/runs/today", "dangling"])
def test_below_a_file_is_no_folder(verb: str, option: str, place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to("nowhere")
    said = CliRunner().invoke(cli, [verb, option, str(tmp_path / place)])
    assert said.exit_code == 2
    assert "cannot be a folder" in said.output or "is a file" in said.output, said.output


def test_all_verbs_that_fill_a_folder_are_asked() -> None:
    verbs = {verb for verb, _ in FILLS}
    assert {"run", "presubmit", "review", "prove", "hunt", "compare-npu", "repro", "nightly", "history"} <= verbs


def test_a_folder_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda place, mode: Path(place) != tmp_path)
    with pytest.raises(click.BadParameter, match="not yours to write to"):
        Folder()(tmp_path / "mine" / "run")


def test_one_that_is_there_or_can_be_made(tmp_path: Path) -> None:
    assert Folder()(str(tmp_path)) == tmp_path
    assert Folder()(str(tmp_path / "new" / "run")) == tmp_path / "new" / "run"


def test_a_process_that_goes_away_is_the_labs_trouble(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="a process of the lab went away") as caught, filling(tmp_path):
        raise BrokenPipeError
    assert str(tmp_path) in caught.value.hint
