# SPDX-License-Identifier: GPL-2.0-only
"""Serves the host's commands over the port until it says power off. Runs in PID 1 of the guest.

Commands, answers and events: harness/guest/README.md.
"""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.guest import modules
from harness.guest.port import Link, Port

HOME = Path("/run/xdna")
SUITE = HOME / "tests/target"
SUITE_LOG = HOME / "suite.log"
DEFAULT_LIMIT = 60.0

Command = dict[str, Any]


def main(fd: int, home: Path = HOME) -> None:
    """Serve commands until poweroff."""
    Agent(Port(fd), home).serve()


class Agent:
    """One command after the other; an answer or an error for each."""

    def __init__(self, port: Port, home: Path = HOME) -> None:
        self.port = port
        self.home = home
        self._handlers: dict[str, Callable[[Command], Any]] = {
            "run": self.run,
            "put": self.put,
            "get": self.get,
            "load": self.load,
            "suite": self.suite,
            "shell": self.shell,
        }

    def serve(self) -> None:
        """The loop. Returns after "poweroff" has been answered."""
        while True:
            command = self.port.receive()
            number, name = command.get("id"), command.get("cmd")
            reap()
            if name == "poweroff":
                self.port.send({"done": number, "value": None})
                return
            handler = self._handlers.get(str(name))
            try:
                if handler is None:
                    raise ValueError(f"unknown command {name!r}")
                self.port.send({"done": number, "value": handler(command)})
            except Exception as error:
                self.port.send({"done": number, "error": f"{type(error).__name__}: {error}"})

    def run(self, command: Command) -> dict[str, Any]:
        """Run a program: exit status (negative: signal, 124: not ended in time) and its output."""
        process = subprocess.Popen(
            command["argv"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        status: int | None = None
        try:
            output, _ = process.communicate(timeout=command.get("timeout", 60))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            status = 124
        return {
            "status": process.returncode if status is None else status,
            "output": output.decode(errors="replace"),
        }

    def put(self, command: Command) -> None:
        """Write a file; one that is there already (sysfs, debugfs) keeps its mode unless one is given."""
        path = Path(command["path"])
        fresh = not path.exists()
        if fresh:
            path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            stream.write(base64.b64decode(command["data"], validate=True))
        if fresh or command.get("mode") is not None:
            path.chmod(command.get("mode") or 0o644)

    def get(self, command: Command) -> str:
        """A file's content, base64."""
        return base64.b64encode(Path(command["path"]).read_bytes()).decode()

    def load(self, command: Command) -> list[dict[str, str]]:
        """Load modules in the given order; paths are relative to the agent's folder."""
        return [
            asdict(modules.load(self.home / entry["path"], entry.get("params") or ""))
            for entry in command["modules"]
        ]

    def suite(self, command: Command) -> int:
        """Run the suite in a child: pytest's exit status. Raises when the child was killed."""
        import pytest  # noqa: F401  loaded here once, so that every child has it

        child = os.fork()
        if child == 0:
            os._exit(self._suite_child(command))
        status = wait_for(child)
        if os.WIFSIGNALED(status):
            raise ChildProcessError(f"the suite was killed by signal {os.WTERMSIG(status)}")
        return os.WEXITSTATUS(status)

    def _suite_child(self, command: Command) -> int:
        """In the child: output to a file, then pytest. 70 when we fail ourselves."""
        log = os.open(self.home / "suite.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        try:
            from harness.guest.plugin import Order, run_suite

            os.setsid()
            os.chdir(self.home / "tests/target")
            link = Link(self.port, int(command.get("boot", 0)), int(command.get("attempt", 0)))
            order = Order(
                command.get("tests"), command.get("k"), float(command.get("limit") or DEFAULT_LIMIT)
            )
            return run_suite(link, order, Path.cwd())
        except BaseException:
            traceback.print_exc()
            return 70
        finally:
            sys.stdout.flush()
            sys.stderr.flush()

    def shell(self, command: Command) -> int:
        """A shell on the console, until it ends: its exit status."""
        child = os.fork()
        if child == 0:
            os.setsid()
            console = os.open("/dev/console", os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(console, number)
            os.execvp("bash", ["bash", "-i"])
        return os.waitstatus_to_exitcode(wait_for(child))


def wait_for(child: int) -> int:
    """Wait for one child and reap every other that ends meanwhile: PID 1 inherits the orphans."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            return status


def reap() -> None:
    """Reap what has ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
