# SPDX-License-Identifier: GPL-2.0-only
"""The emulated NPU's process: started before QEMU, asked over its control socket, ends with us."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from harness.errors import InfraError
from harness.host.data import PACKAGE
from harness.host.npu_control import NpuControl
from harness.host.proc import kill_group, spawn
from harness.host.scratch import listening
from harness.host.vm import Sockets, npu_argv
from harness.model.variant import Variant


class NpuProcess:
    """Starts at once. Its sockets are there at once too, so that QEMU starts while its Python does. What it does goes
    to ``events``, what it prints to ``log``."""

    def __init__(self, sockets: Sockets, variant: Variant, events: Path, log: Path) -> None:
        self._log = log
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])}
        with listening(sockets.npu) as device, listening(sockets.control) as control:
            fds = device.fileno(), control.fileno()
            argv = [sys.executable, *npu_argv(sockets, variant, events, fds)]
            self._process: subprocess.Popen[bytes] = spawn(argv, log=log, env=env, fds=fds)

    def connect(self, socket: Path) -> NpuControl:
        """InfraError: it did not come up."""
        try:
            return NpuControl(socket, self.alive)
        except InfraError as error:
            raise InfraError(self.fault() or error.message, log=self._log, transient=True) from error

    def alive(self) -> bool:
        return self._process.poll() is None

    def fault(self) -> str:
        """What the emulation did wrong, if its process ended by itself; else empty."""
        if self.alive():
            return ""
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        said = " | ".join(lines[-3:]) or "it said nothing"
        return f"the emulated NPU ended with status {self._process.returncode}: {said}"

    def kill(self) -> None:
        kill_group(self._process)
