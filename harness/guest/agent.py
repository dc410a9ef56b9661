# SPDX-License-Identifier: GPL-2.0-only
"""Serves the host's commands over the port until it says power off. Runs in PID 1 of the guest.

Commands, answers and events: harness/guest/README.md.
"""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import termios
import threading
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.guest import frozen, modules
from harness.guest.kmsg import Reader
from harness.guest.port import Link, Port
from harness.guest.sleep import open_console

HOME = Path("/run/xdna")
DEFAULT_LIMIT = 60.0
NEEDS_TESTS = ("warm", "suite")

if TYPE_CHECKING:
    from harness.guest.suite import Waiting  # imports pytest, which takes a second

Command = dict[str, Any]


def main(fd: int, home: Path = HOME) -> None:
    """Serve commands until poweroff. Meanwhile a thread loads pytest, which takes a second or more."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # we know what is in the image
    agent = Agent(Port(fd), home)
    agent.warm_up.start()
    open_console()
    agent.live()


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
    """One command after the other; an answer or an error for each. ``kmsg``: where the first suite's kernel messages
    begin, if not at the boot."""

    def __init__(self, port: Port, home: Path = HOME, kmsg: Reader | None = None) -> None:
        self.port = port
        self.home = home
        self._kmsg = kmsg
        self.warm_up = threading.Thread(target=_load_pytest)
        self._waiting: Waiting | None = None
        self._handlers: dict[str, Callable[[Command], Any]] = {
            "run": self.run,
            "put": self.put,
            "get": self.get,
            "load": self.load,
            "suite": self.suite,
            "shell": self.shell,
            "unpack": self.unpack,
            "warm": lambda command: None,
            "settle": self.settle,
            "thaw": self.thaw,
        }

    def live(self) -> None:
        """Serve commands until "poweroff". The first one that needs the tests finds them collected, and from then on
        the loop runs inside pytest."""
        waits_for_tests = self.serve()
        if waits_for_tests is None:
            return
        if self.warm_up.ident is not None:
            self.warm_up.join()
        from harness.guest import suite

        kept = os.dup(1), os.dup(2)

        def serve(waiting: Waiting) -> None:
            _put_back(*kept)
            self._waiting = waiting
            self._handle(waits_for_tests)
            self.serve()

        _append_to(self.home / "suite.log")
        try:
            status = suite.wait(self.home / "tests/target", serve)
        finally:
            _put_back(*kept)
        if self._waiting is None:
            error = f"pytest ended with status {status}, see suite.log"
            self.port.send({"done": waits_for_tests.get("id"), "error": error})

    def serve(self) -> Command | None:
        """The loop. Returns None after "poweroff" has been answered, or a command for which the tests must be there."""
        while True:
            command = self.port.receive()
            reap()
            if command.get("cmd") == "poweroff":
                self.port.send({"done": command.get("id"), "value": None})
                return None
            if command.get("cmd") in NEEDS_TESTS and self._waiting is None:
                return command
            self._handle(command)

    def _handle(self, command: Command) -> None:
        number, name = command.get("id"), command.get("cmd")
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

    def unpack(self, command: Command) -> None:
        """Unpack a tar of ``size`` bytes, which follow the command, into the agent's folder."""
        data = self.port.receive_bytes(int(command["size"]))
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            tar.extractall(self.home, filter="tar")

    def settle(self, command: Command) -> str:
        """Let the driver suspend its device: the runtime status at the end."""
        return frozen.settle(str(command["address"]), float(command["seconds"]))

    def thaw(self, command: Command) -> dict[str, object]:
        """First command after a restore."""
        return frozen.thaw(float(command["time"]), base64.b64decode(command["entropy"]))

    def load(self, command: Command) -> list[dict[str, str]]:
        """Load modules in the given order; paths are relative to the agent's folder. ``rescan``: look for the device
        first, which was not there at boot."""
        if command.get("rescan"):
            frozen.rescan()
        return [
            asdict(modules.load(self.home / entry["path"], entry.get("params") or "")) for entry in command["modules"]
        ]

    def suite(self, command: Command) -> int:
        """Run the suite in a child: pytest's exit status. Raises when the child was killed."""
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
        """In the child: output to a file, then the tests. 70 when we fail ourselves."""
        _append_to(self.home / "suite.log")
        try:
            from harness.guest import suite
            from harness.guest.plugin import Order

            os.setsid()
            if "script" in command:
                (self.home / "script.jsonl").write_text(command["script"])
            os.chdir(self.home / "tests/target")
            assert self._waiting is not None
            link = Link(self.port, int(command.get("boot", 0)), int(command.get("attempt", 0)))
            return suite.run(self._waiting, link, Order.read(command, DEFAULT_LIMIT), kmsg)
        except BaseException:
            traceback.print_exc()
            return 70
        finally:
            sys.stdout.flush()
            sys.stderr.flush()

    def shell(self, command: Command) -> int:
        """A shell on the console, until it ends: its exit status."""
        return console_shell()


def _append_to(log: Path) -> None:
    """Standard output and error go to the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
    _put_back(fd, fd)
    os.close(fd)


def _put_back(out: int, err: int) -> None:
    """Standard output and error are these from now on."""
    os.dup2(out, 1)
    os.dup2(err, 2)


def _load_pytest() -> None:
    """While the host has other commands."""
    import harness.guest.suite  # noqa: F401


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
