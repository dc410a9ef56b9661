# SPDX-License-Identifier: GPL-2.0-only
"""Serves the host's commands over the port until it says power off. Runs in PID 1 of the guest.

Commands, answers and events: harness/guest/README.md.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import termios
import threading
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.guest import modules
from harness.guest.kmsg import Reader
from harness.guest.port import Link, Port

HOME = Path("/run/xdna")
DEFAULT_LIMIT = 60.0

Command = dict[str, Any]


def main(fd: int, home: Path = HOME) -> None:
    """Serve commands until poweroff. Meanwhile a thread loads pytest, which takes a second or more."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # we know what is in the image
    agent = Agent(Port(fd), home)
    agent.warm_up.start()
    agent.serve()


def by_hand(home: Path = HOME) -> None:
    """No host: load the driver as options.json says, and leave the rest to a person at the console."""
    os.environ["PYTHONPATH"] = f"{home}:/usr/lib/python3/dist-packages"
    options = json.loads((home / "options.json").read_text())
    mode = options.get("mode", "sva")
    for name in options["modules"]:
        wanted = "force_iova=1" if mode == "force-iova" and name == options["modules"][-1] else ""
        modules.load(home / "modules" / name, wanted)
    if mode == "carveout":
        set_carveout(Path("/proc/cmdline").read_text(), Path("/sys/kernel/debug/accel"))
    os.chdir(home)
    console_shell()


def set_carveout(cmdline: str, debugfs: Path) -> None:
    """Give the driver the memory that memmap=SIZE$START keeps from the kernel."""
    found = re.search(r"memmap=(\d+)M\$(0x[0-9a-f]+)", cmdline)
    if found:
        for path in debugfs.glob("*:*/carveout"):
            path.write_text(f"{int(found[1]) << 20:#x}@{found[2]}")


class Agent:
    """One command after the other; an answer or an error for each."""

    def __init__(self, port: Port, home: Path = HOME) -> None:
        self.port = port
        self.home = home
        self._kmsg: Reader | None = None
        self.warm_up = threading.Thread(target=_load_pytest)
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
            asdict(modules.load(self.home / entry["path"], entry.get("params") or "")) for entry in command["modules"]
        ]

    def suite(self, command: Command) -> int:
        """Run the suite in a child: pytest's exit status. Raises when the child was killed."""
        if self.warm_up.ident is not None:
            self.warm_up.join()  # a child must not inherit a module that is half loaded
        # Opened once: the children share its position, so no message comes twice and none is missed.
        self._kmsg = self._kmsg or Reader()
        child = os.fork()
        if child == 0:
            os._exit(self._suite_child(command, self._kmsg))
        status = wait_for(child)
        if os.WIFSIGNALED(status):
            raise ChildProcessError(f"the suite was killed by signal {os.WTERMSIG(status)}")
        return os.WEXITSTATUS(status)

    def _suite_child(self, command: Command, kmsg: Reader) -> int:
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
            order = Order(command.get("tests"), command.get("k"), float(command.get("limit") or DEFAULT_LIMIT))
            return run_suite(link, order, Path.cwd(), kmsg)
        except BaseException:
            traceback.print_exc()
            return 70
        finally:
            sys.stdout.flush()
            sys.stderr.flush()

    def shell(self, command: Command) -> int:
        """A shell on the console, until it ends: its exit status."""
        return console_shell()


def _load_pytest() -> None:
    """Once for all children, which are forked. The plug-in imports pytest."""
    import harness.guest.plugin  # noqa: F401


def console_shell() -> int:
    """A shell on the serial console, with job control, until it ends: its exit status."""
    child = os.fork()
    if child == 0:
        os.setsid()
        console = os.open("/dev/ttyS0", os.O_RDWR)
        fcntl.ioctl(console, termios.TIOCSCTTY, 0)
        for number in (0, 1, 2):
            os.dup2(console, number)
        os.execvp("bash", ["bash", "--norc", "-i"])
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
