# SPDX-License-Identifier: GPL-2.0-only
"""The ready-made files of docs/ci, each by the best judge that can be had without a server; no network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from harness.cli import cli

CI = Path(__file__).parents[2] / "docs" / "ci"
UNITS = ("xdna-harness-nightly.service", "xdna-harness-nightly.timer")
FILES = (*UNITS, "gitlab-ci.yml", "github-actions.yml", "Jenkinsfile")


def verified(folder: Path) -> str:
    """What systemd says of both units in the folder; empty when it has nothing to say."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here ('doctor --tests' brings it)")
    argv = ["systemd-analyze", "verify", "--man=no", *(str(folder / unit) for unit in UNITS)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "xdna-harness" in line]
    return "\n".join(said) or (f"status {done.returncode}: {done.stderr}" if done.returncode else "")


def test_systemd_takes_service_and_timer() -> None:
    assert verified(CI) == ""


def test_systemd_would_say_what_is_wrong(tmp_path: Path) -> None:
    for unit in UNITS:
        (tmp_path / unit).write_text((CI / unit).read_text().replace("Nice=10", "Nicer=10"))
    assert "Nicer" in verified(tmp_path)


def by_schema(path: Path, schema: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("check_jsonschema")
    argv = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    argv += ["--data-transform", "gitlab-ci"] if "gitlab" in schema else []
    return subprocess.run([*argv, str(path)], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("name", "schema", "word"),
    [
        ("gitlab-ci.yml", "vendor.gitlab-ci", "artifacts"),
        ("github-actions.yml", "vendor.github-workflows", "runs-on"),
    ],
)
def test_the_forges_own_schemas_take_them_and_would_not_take_others(
    tmp_path: Path, name: str, schema: str, word: str
) -> None:
    good = by_schema(CI / name, schema)
    assert good.returncode == 0, good.stdout + good.stderr
    (tmp_path / name).write_text((CI / name).read_text().replace(f"{word}:", f"{word}-x:"))
    assert by_schema(tmp_path / name, schema).returncode != 0


def groovy_errors(text: str) -> bool:
    tree_sitter = pytest.importorskip("tree_sitter")
    language = tree_sitter.Language(pytest.importorskip("tree_sitter_groovy").language())
    return bool(tree_sitter.Parser(language).parse(text.encode()).root_node.has_error)


def test_the_jenkinsfile_is_groovy() -> None:
    text = (CI / "Jenkinsfile").read_text()
    assert not groovy_errors(text)
    assert groovy_errors(text.replace("stages {", "stages {{", 1))


@pytest.mark.parametrize("name", FILES)
def test_every_word_for_us_is_one_that_we_know(name: str) -> None:
    called = re.findall(r"xdna-harness (nightly|history|doctor)((?: +--[a-z-]+)*)", (CI / name).read_text())
    assert called or name.endswith(".timer")
    for verb, words in called:
        command = cli.commands[verb]
        known = {opt for p in command.params if isinstance(p, click.Option) for opt in p.opts}
        assert set(words.split()) <= known, f"{name}: {verb}"


def test_the_table_names_every_file() -> None:
    table = (CI / "README.md").read_text()
    for path in CI.iterdir():
        assert path.suffix in (".md", ".timer") or f"`{path.name}`" in table
