# SPDX-License-Identifier: GPL-2.0-only
"""Our folder on a machine behind ssh, and the agent in it: sent, started, looked after and taken away."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from harness.errors import HarnessError, InfraError
from harness.host.port import Stream
from harness.log import say
from harness.targets.ssh.evidence import keep
from harness.targets.ssh.machine import Machine

UPLOAD_SECONDS = 120.0
START_SECONDS = 60.0
CLEAN_SECONDS = 30.0
GIVE_WAY_SECONDS = 10
LOCK = "/run/xdna-harness.lock"
"""Held as long as anybody of ours lives there (harness/guest/keeper.py)."""
WHOLE_LOG = "whole-log"
"""The file that tells the agent where the kernel's log begins (harness/guest/resident.py)."""
LINGER_SECONDS = 600.0
"""How long the agent waits for a connection that was lost, before it ends itself and what it started."""

MAKE_HOME = 'umask 077; d=$(mktemp -d /tmp/xdna-XXXXXXXX) && tar --no-same-owner -xf - -C "$d" && echo "home $d"'
_HOME = re.compile(r"^home (/tmp/xdna-[A-Za-z0-9]+)$", re.M)
_HOLDER = re.compile(r"^(busy|orphan) (/tmp/xdna-[A-Za-z0-9]+)?$", re.M)
START = """\
cd HOME || exit
scope="systemd-run --scope --quiet --collect"
{ command -v systemd-run && $scope true; } >/dev/null 2>&1 || scope=
exec $scope python3 -s -m harness.guest.keeper HOME SECONDS
"""
"""Where systemd runs the agent has a scope of its own: what ends sshd, or our login there, must not take along who
feeds the watchdog. That would look like a kernel that died."""
OURS = """\
for p in /proc/[0-9]*; do case "$(readlink "$p/cwd")" in HOME|HOME/*) %s;; esac; done 2>/dev/null
"""
"""Do something to every process that works below HOME: the agent, its suite, and what tests started."""
STUCK = OURS % (
    'for t in "$p"/task/*; do '
    'grep -q "^State:.D" "$t/status" && { cat "$t/comm" "$t/stack"; } | sed "s/^/stuck: /"; done'
)
_STUCK = re.compile(r"^stuck: (.*)$", re.M)
"""What else is said, by sudo or by a shell that failed, is no task."""
CLEAN = OURS % 'kill -9 "${p#/proc/}"' + "rm -rf HOME"
GIVE_WAY = OURS % 'kill "${p#/proc/}"' + f"flock -w {GIVE_WAY_SECONDS} {LOCK} true\n" + CLEAN
"""First as its keeper wants it, who then disarms the watchdog: one that nobody feeds would bite the next run."""


class Home:
    """A folder of ours on ``machine``. ``path`` is empty once there is nothing left to take away."""

    def __init__(self, machine: Machine, cargo: bytes) -> None:
        """Send what travels. InfraError."""
        self.machine = machine
        status, output = machine.connection.run(MAKE_HOME, UPLOAD_SECONDS, cargo)
        found = _HOME.search(output)
        if status != 0 or found is None:
            raise InfraError(f"{machine.name}: nothing can be unpacked in /tmp: {output.strip()[-200:]}")
        self.path = found[1]
        machine.homes.add(self.path)

    def start_agent(self, whole_log: bool) -> None:
        """One agent at a time; another run's gives way: our commands have passed the fence, so the machine is ours, and
        a connection that still leads there may be one of a harness without power. ``whole_log``: it tells what the
        kernel said before it, too."""
        mark = f": > {self.path}/{WHOLE_LOG} &&\n" if whole_log else ""
        script = mark + START.replace("HOME", self.path).replace("SECONDS", f"{LINGER_SECONDS:.0f}")
        for _ in range(2):
            status, said = self.machine.root(script, START_SECONDS)
            holder = _HOLDER.search(said)
            if status == 0 and "ready" in said:
                return
            if holder is None or not holder[2] or holder[2] in self.machine.homes:
                break
            if holder[1] == "busy":
                self.machine.note(f"{self.machine.name}: an agent of a run that does not hold it any more was ended")
            else:
                say(f"{self.machine.name}: the agent of a run that is gone gives way")
            self.root(GIVE_WAY.replace("HOME", holder[2]))
        if holder is not None and holder[2] in self.machine.homes:
            raise InfraError(f"{self.machine.name}: a session of this run is there already")
        if holder is not None:
            raise InfraError(f"{self.machine.name}: another run has this machine", hint="wait for its end")
        raise InfraError(f"{self.machine.name}: the agent does not start: {said.strip()[-300:]}")

    def dial(self, root: str) -> Stream:
        """A way to the agent; ``root`` is what a command must begin with. InfraError."""
        return self.machine.connection.start(
            f"cd {self.path} && exec {root}python3 -s -m harness.guest.relay {self.path}"
        )

    def stuck(self) -> str:
        """Tasks of ours that the kernel does not let go, with their stacks."""
        return "\n".join(_STUCK.findall(self.root(STUCK)))

    def agent_said(self, folder: Path) -> str:
        """The last line of the agent's log."""
        self.fetch_log(folder)
        path = folder / "agent.log"
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        return lines[-1] if lines else ""

    def fetch_log(self, folder: Path) -> None:
        """What the agent and its suite wrote, into ``folder``."""
        for name, data in self.machine.fetch(f"{self.path}/agent.log {self.path}/suite.log").items():
            keep(folder / name.rpartition("/")[2], data)

    def root(self, script: str) -> str:
        """A script's output as root; nothing when the machine does not answer."""
        with suppress(HarnessError):
            return self.machine.root(script.replace("HOME", self.path), CLEAN_SECONDS)[1]
        return ""

    def remove(self) -> None:
        """End what works in it, and take it away."""
        self.machine.homes.discard(self.path)
        self.root(CLEAN)
