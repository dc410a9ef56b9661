# SPDX-License-Identifier: GPL-2.0-only
"""What kernel developers expect of a program: completion, a man page, JSON, NO_COLOR, quiet and verbose."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import click
import pytest
from click.shell_completion import get_completion_class
from click.testing import CliRunner

from harness.cli import cli
from harness.cli_self import PROGRAM
from harness.errors import UsageError
from harness.host import proc
from harness.host.nights import Nights
from harness.log import Loudness, say, set_loudness, step, warn
from harness.manpage import render

WITHOUT_RESULTS = {"shell", "completion", "man"}


def page() -> str:
    with click.Context(cli, info_name=PROGRAM) as context:
        return render(context.to_info_dict(), "1.0", date(2026, 1, 2))


@pytest.mark.parametrize("name", sorted(cli.commands.keys() - WITHOUT_RESULTS))
def test_every_verb_that_prints_results_prints_json(name: str) -> None:
    assert any("--json" in parameter.opts for parameter in cli.commands[name].params)


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_verb_can_be_quiet_and_verbose(name: str) -> None:
    flags = {flag for parameter in cli.commands[name].params for flag in parameter.opts}
    assert {"-q", "--quiet", "-v", "--verbose"} <= flags


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_is_a_script_of_that_shell(shell: str, tmp_path: Path) -> None:
    said = CliRunner().invoke(cli, ["completion", shell])
    assert said.exit_code == 0
    assert "_XDNA_HARNESS_COMPLETE" in said.output
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    (tmp_path / "script").write_text(said.output)
    subprocess.run([shell, "-n", str(tmp_path / "script")], check=True, timeout=60)


def test_it_completes_verbs_and_options() -> None:
    kind = get_completion_class("bash")
    assert kind is not None
    shell = kind(cli, {}, PROGRAM, "_XDNA_HARNESS_COMPLETE")
    assert [item.value for item in shell.get_completions([], "night")] == ["nightly"]
    assert "--until-fail" in [item.value for item in shell.get_completions(["repro"], "--u")]
    assert [item.value for item in shell.get_completions(["run", "--npu"], "npu6")] == ["npu6"]


def test_the_man_page_has_every_verb_and_option() -> None:
    said = page().replace("\\-", "-")
    for name, command in cli.commands.items():
        assert f'.SS "{name}"' in said
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert f"\\fB{parameter.opts[0]}\\fR" in said, f"{name} {parameter.opts[0]}"


def lint(text: str, tmp_path: Path) -> str:
    if not shutil.which("mandoc"):
        pytest.skip("no mandoc here ('doctor --tests' brings it)")
    (tmp_path / "xdna-harness.1").write_text(text)
    argv = ["mandoc", "-Tlint", "-W", "warning", str(tmp_path / "xdna-harness.1")]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False).stdout


def test_the_man_page_is_in_order_by_mandoc(tmp_path: Path) -> None:
    assert lint(page(), tmp_path) == ""
    assert lint(page().replace(".SH VERBS", ".SHH VERBS"), tmp_path) != ""


def coloured(**env: str) -> str:
    code = "from harness.log import say, warn; warn('yellow'); say('red', style='red')"
    clean = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    argv = [sys.executable, "-c", code]
    done = subprocess.run(
        argv, env={**clean, "FORCE_COLOR": "1", "TERM": "xterm-256color", **env},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stderr


def test_no_color_means_no_colour() -> None:
    assert "\x1b[33m" in coloured()
    assert "\x1b[3" not in coloured(NO_COLOR="1")


def test_quiet_leaves_warnings_and_errors_verbose_adds_programs(capsys: pytest.CaptureFixture[str]) -> None:
    def told(loudness: Loudness) -> str:
        set_loudness(loudness)
        try:
            with step("a step"):
                say("a line")
                warn("a warning")
                say("an error", style="red")
                proc.run(["true", "a word"], what="nothing", timeout=10)
        finally:
            set_loudness(Loudness.NORMAL)
        return capsys.readouterr().err

    assert told(Loudness.QUIET).split("\n") == ["  warning: a warning", "  an error", ""]
    normal = told(Loudness.NORMAL)
    assert "a step" in normal
    assert "a line" in normal
    assert "nothing: true" not in normal
    assert "nothing: true 'a word'" in told(Loudness.VERBOSE)


def test_a_folder_to_write_to_is_no_file() -> None:
    options = [p for verb in cli.commands.values() for p in verb.params if p.name == "out" and p.metavar == "DIR"]
    assert len(options) > 5
    assert all(isinstance(option.type, click.Path) and not option.type.file_okay for option in options)


def test_a_page_of_history_that_cannot_be_written(tmp_path: Path) -> None:
    Nights(tmp_path).close()
    asked = CliRunner().invoke(cli, ["history", "--state", str(tmp_path), "--html", str(tmp_path / "nowhere" / "x")])
    assert isinstance(asked.exception, UsageError)
    assert "cannot write" in asked.exception.message
