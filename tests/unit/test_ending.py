# SPDX-License-Identifier: GPL-2.0-only
"""Who is told to end gives back what he has, and says that he was interrupted: in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from harness.cli import INTERRUPTED

VERB = """
import sys, time
from pathlib import Path
from harness import cli

def verb(**how):
    Path("ready").touch()
    try:
        time.sleep(60)
    finally:
        print("gives back", flush=True)
        time.sleep(0.5)
        Path("given-back").touch()

cli.cli.main = verb
cli.main()
"""
SECONDS = 120.0

Start = Callable[..., "subprocess.Popen[bytes]"]


@contextmanager
def inherited(ignored: int) -> Iterator[None]:
    """What a program ignores from its start is what we do: only that signal, whoever started us (nohup, a job in the
    background)."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number in before:
        signal.signal(number, signal.SIG_IGN if number == ignored else signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """The program at a verb that has something; what it says goes to a file, or to ``out``."""
    running = []

    def begin(out: int | IO[bytes] | None = None, ignored: int = 0) -> subprocess.Popen[bytes]:
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        with (tmp_path / "out").open("wb") as file:
            sink = file if out is None else out
            argv = [sys.executable, "-c", VERB]
            with inherited(ignored):
                process = subprocess.Popen(argv, cwd=tmp_path, env=env, stdout=sink, stderr=sink)
        running.append(process)
        deadline = time.monotonic() + SECONDS
        while not (tmp_path / "ready").exists():
            assert process.poll() is None, (tmp_path / "out").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return process

    yield begin
    for process in running:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_is_told_to_end_gives_back_first(start: Start, tmp_path: Path, number: int) -> None:
    process = start()
    process.send_signal(number)
    assert process.wait(SECONDS) == INTERRUPTED
    assert (tmp_path / "given-back").exists()
    assert "interrupted; the same command" in (tmp_path / "out").read_text()


@pytest.mark.parametrize("first", [signal.SIGHUP, signal.SIGINT])
def test_told_twice_it_still_gives_back(start: Start, tmp_path: Path, first: int) -> None:
    """A shell that ends and the kernel both say that the terminal is gone; or somebody pressed Ctrl-C before."""
    process = start()
    for number in (first, signal.SIGHUP, signal.SIGTERM):
        process.send_signal(number)
        time.sleep(0.1)
    assert process.wait(SECONDS) == INTERRUPTED
    assert (tmp_path / "given-back").exists()


def test_a_second_ctrl_c_is_a_persons(start: Start, tmp_path: Path) -> None:
    process = start()
    process.send_signal(signal.SIGINT)
    while "gives back" not in (tmp_path / "out").read_text():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == INTERRUPTED
    assert not (tmp_path / "given-back").exists()


def test_what_is_said_to_a_terminal_that_is_gone_changes_nothing(start: Start, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    process = start(theirs)
    os.close(theirs)
    os.close(ours)
    process.send_signal(signal.SIGHUP)
    assert process.wait(SECONDS) == INTERRUPTED
    assert (tmp_path / "given-back").exists()


def test_under_nohup_a_terminal_may_go(start: Start, tmp_path: Path) -> None:
    process = start(ignored=signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.terminate()
    assert process.wait(SECONDS) == INTERRUPTED
