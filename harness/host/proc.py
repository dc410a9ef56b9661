# SPDX-License-Identifier: GPL-2.0-only
"""Run programs on this machine: always with a limit, a reason, and a process group that dies as one.

The only module (with the leaves) that imports subprocess.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InfraError
from harness.log import detail

Argv = Sequence[str | os.PathLike[str]]


@dataclass(frozen=True)
class Completed:
    """What a finished program left: exit status (negative: signal) and its output as text.

    With a ``log``, standard output and error went there and ``stdout`` is empty.
    """

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


class CommandFailed(InfraError):
    """A program ended with a non-zero status. Callers who know better whose fault that is translate it."""

    def __init__(self, what: str, done: Completed, log: Path | None) -> None:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
        super().__init__(
            f"{what} failed with status {done.status}: {last[0]}",
            hint=f"command: {shlex.join(done.argv)}",
            log=log,
        )
        self.done = done


class CommandTimeout(InfraError):
    """A program did not end within its limit and was killed."""

    def __init__(self, what: str, seconds: float, log: Path | None) -> None:
        super().__init__(f"{what} did not end within {seconds:.0f} s and was killed", log=log, transient=True)


def run(
    argv: Argv,
    *,
    what: str,
    timeout: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | Path = b"",
    log: Path | None = None,
    check: bool = True,
    poll: Callable[[], None] | None = None,
) -> Completed:
    """Run ``argv`` to its end and return what it left.

    ``what`` names the act in errors ("git am of patch 2"); ``timeout`` is in seconds, after it the whole
    process group is killed and :class:`CommandTimeout` raised. ``stdin`` is bytes or a file. With ``log``
    both outputs are appended there. ``poll`` is called about five times a second (progress). With ``check``
    a non-zero status raises :class:`CommandFailed`; a missing program is an :class:`InfraError`.
    """
    words = tuple(os.fspath(word) for word in argv)
    detail(f"{what}: {shlex.join(words)}")
    sink = log.open("ab") if log else None
    source = stdin.open("rb") if isinstance(stdin, Path) else subprocess.PIPE
    try:
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env=dict(env) if env is not None else None,
            stdin=source,
            stdout=sink or subprocess.PIPE,
            stderr=subprocess.STDOUT if sink else subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise InfraError(
            f"{what}: program {words[0]} is not there", hint="'xdna-harness doctor' says what to install"
        ) from error
    finally:
        if sink:
            sink.close()
        if not isinstance(source, int):
            source.close()
    out, err = _communicate(process, stdin if isinstance(stdin, bytes) else b"", what, timeout, log, poll)
    done = Completed(
        words, process.returncode, out.decode(errors="replace") if out else "", err.decode(errors="replace")
    )
    if check and done.status != 0:
        raise CommandFailed(what, done, log)
    return done


def _communicate(
    process: subprocess.Popen[bytes],
    data: bytes,
    what: str,
    timeout: float,
    log: Path | None,
    poll: Callable[[], None] | None,
) -> tuple[bytes, bytes]:
    """Feed and drain the program until it ends; kill its group at the limit or when we are interrupted."""
    deadline = time.monotonic() + timeout
    feed: bytes | None = data if process.stdin else None
    try:
        while True:
            try:
                out, err = process.communicate(feed, timeout=min(0.2, max(0.01, deadline - time.monotonic())))
                return out or b"", err or b""
            except subprocess.TimeoutExpired:
                feed = None
                if time.monotonic() >= deadline:
                    raise CommandTimeout(what, timeout, log) from None
                if poll:
                    poll()
    except BaseException:
        kill_group(process)
        raise


def spawn(
    argv: Argv,
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    fds: Sequence[int] = (),
    keep_stdin: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a program that runs beside us (QEMU, the NPU) and is killed by the kernel when we die.

    The kernel ties the child's life to the thread that started it: that thread must wait for its end.
    Its output goes to ``log``; it inherits ``fds``. Its standard input is empty, with ``keep_stdin`` without an end.
    """
    words = ["setpriv", "--pdeathsig", "KILL", *(os.fspath(word) for word in argv)]
    detail(f"beside us: {shlex.join(words)}")
    with log.open("ab") as sink:
        return subprocess.Popen(
            words,
            cwd=cwd,
            env=dict(env) if env is not None else None,
            stdin=subprocess.PIPE if keep_stdin else subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=fds,
        )


def interactive(argv: Argv) -> int:
    """Run a program on the person's own terminal until it ends by itself; returns its exit status."""
    return subprocess.run([os.fspath(word) for word in argv], check=False).returncode


def kill_group(process: subprocess.Popen[bytes], grace: float = 5.0) -> None:
    """End a program that we started, and all it started: SIGTERM, then SIGKILL after ``grace`` seconds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                break
            try:
                process.wait(timeout=grace)
            except subprocess.TimeoutExpired:
                continue
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()
