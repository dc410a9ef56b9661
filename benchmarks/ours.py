# SPDX-License-Identifier: GPL-2.0-only
"""The harness, as its users call it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

KERNEL = "debian:7.3"
COMMAND_SECONDS = 7200


class Failed(Exception):
    """A command that was to be measured did not work; the message has what it said."""


def timed(act: Callable[..., object], *words: object, **options: object) -> float:
    """Seconds that ``act`` takes."""
    started = time.monotonic()
    act(*words, **options)
    return time.monotonic() - started


def command(argv: list[str], folder: Path | None = None, env: dict[str, str] | None = None, good: int = 0) -> str:
    """Run a command to its end; its output. Failed: another exit code than ``good``."""
    whole = {**os.environ, **(env or {})}
    done = subprocess.run(
        argv,
        cwd=folder,
        env=whole,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    if done.returncode != good:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise Failed(f"{' '.join(argv)}: status {done.returncode}\n{said}")
    return done.stdout


def harness(*words: str | Path, folder: Path | None = None, env: dict[str, str] | None = None) -> str:
    """One call of the command line that must be GOOD."""
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    env = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), **(env or {})}
    return command([sys.executable, "-m", "harness.cli", *map(str, words)], folder, env)


def compile_seconds(run: Path) -> dict[str, float]:
    """How long each lane of a run was built, from its records."""
    lanes = [event for event in _events(run / "run.jsonl") if event.get("event") == "lane"]
    return {str(event["name"]): float(event["seconds"]) for event in lanes if event.get("seconds")}


def first_test_seconds(run: Path) -> float:
    """From the start of the NPU and QEMU to the first test, as the lane's records say."""
    events = _events(next(run.glob("head/*/results.jsonl")))
    return float(next(event["at"] for event in events if event.get("event") == "test-start"))


def _events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
