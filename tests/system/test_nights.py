# SPDX-License-Identifier: GPL-2.0-only
"""Nights with real kernels: a failure that is found, asked again and repeated; a kill; a kernel as it is shipped."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tomli_w

from conftest import KERNEL, PROJECT, Harness

FORGET_USAGE = {
    "file": "drivers/accel/amdxdna/amdxdna_gem.c",
    "function": "amdxdna_gem_heap_free",
    "replace": r"client->heap_usage -= abo->mem.size;",
    "by": "",
}
WAIT_SECONDS = 900.0

pytestmark = [pytest.mark.kernel, pytest.mark.qemu]


def matrix(folder: Path, **job: object) -> Path:
    path = folder / "matrix.toml"
    path.write_text(tomli_w.dumps({"hours": 1.0, "matrix": [job]}))
    return path


def test_a_failure_is_news_once_and_its_line_repeats_it(harness: Harness, tmp_path: Path) -> None:
    edit = tmp_path / "forget.toml"
    edit.write_text(tomli_w.dumps({"title": "the usage of a heap is never less", "edit": [FORGET_USAGE]}))
    file = matrix(tmp_path, kernel=KERNEL, select="test_e18_accounting", edits=[str(edit)])
    words = ("nightly", "--matrix", file, "--state", tmp_path / "state")
    first = harness(*words)
    assert first.status == 1, first
    assert first.stdout.startswith("the first night: 1 new failure (1 of 1 runs)\n"), first
    line = next(line for line in first.stdout.splitlines() if "again: xdna-harness repro " in line)
    again = harness(*shlex.split(line.partition("xdna-harness ")[2]), "--out", tmp_path / "again", "--json")
    assert again.status == 1, again
    told = json.loads(again.stdout)
    assert (told["same"], [answer["outcome"] for answer in told["answers"]]) == (True, ["FAIL"])
    second = harness(*words)
    assert second.status == 0, second
    assert second.stdout.startswith("since last night: nothing changed (1 of 1 runs, 1 still failing)\n"), second


def test_killed_while_a_test_runs_it_goes_on_there_on_a_kernel_as_shipped(harness: Harness, tmp_path: Path) -> None:
    file = matrix(tmp_path, kernel="debian-bin:7.3", select="test_e01 or test_e03_second_chunk")
    state = tmp_path / "state"
    words = ["nightly", "--matrix", str(file), "--state", str(state)]
    with subprocess.Popen(
        [sys.executable, "-m", "harness.cli", *words], cwd=PROJECT, start_new_session=True, stderr=subprocess.DEVNULL
    ) as nightly:
        deadline = time.monotonic() + WAIT_SECONDS
        while not any('"test-start"' in path.read_text() for path in state.glob("night-0001/*/head/*/results.jsonl")):
            assert nightly.poll() is None, "it ended before any test began"
            assert time.monotonic() < deadline, f"no test began within {WAIT_SECONDS:.0f} s"
            time.sleep(0.05)
        os.kill(nightly.pid, signal.SIGKILL)
    ran = harness(*words)
    assert ran.status == 0, ran
    assert "going on with night 1" in ran.stderr
    assert ran.stdout.startswith("the first night: nothing changed (1 of 1 runs)\n"), ran
    report = json.loads(next(state.glob("night-0001/*/report.json")).read_text())
    assert report["lanes"]["head"]["kernel"].endswith("-amd64"), "the package's own"
    outcomes = {r["id"]: r["outcome"] for r in report["lanes"]["head"]["results"] if "::" in r["id"]}
    assert len(outcomes) >= 2
    assert set(outcomes.values()) == {"PASS"}, ran
