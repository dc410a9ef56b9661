# SPDX-License-Identifier: GPL-2.0-only
"""QEMU's monitor, by the qemu.qmp library: the few commands we use, each with a limit."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from qemu.qmp import QMPError
from qemu.qmp.legacy import QEMUMonitorProtocol

from harness.errors import InfraError

ANSWER_SECONDS = 20.0


class Monitor:
    """A connected monitor. Every failure is an InfraError: it is our QEMU, not the patch."""

    def __init__(self, socket: Path) -> None:
        self._monitor = QEMUMonitorProtocol(str(socket))
        try:
            self._monitor.settimeout(ANSWER_SECONDS)
            self._monitor.connect()
        except (QMPError, OSError, TimeoutError) as error:
            raise InfraError(f"QEMU's monitor does not answer: {error}", transient=True) from error

    def command(self, name: str, **arguments: object) -> object:
        """One QMP command and its return value."""
        try:
            return self._monitor.cmd(name, **arguments)
        except (QMPError, OSError, TimeoutError) as error:
            raise InfraError(f"QEMU's monitor failed at {name}: {error}", transient=True) from error

    def read_physical(self, address: int) -> int:
        """Eight bytes of guest physical memory (device registers too), by the human monitor's xp."""
        answer = str(self.command("human-monitor-command", **{"command-line": f"xp /1gx {address:#x}"}))
        match = re.search(r":\s*(0x[0-9a-fA-F]+)", answer)
        if not match:
            raise InfraError(f"QEMU's monitor gave no memory at {address:#x}: {answer.strip()[:100]}")
        return int(match[1], 16)

    def inject_nmi(self) -> None:
        """Send an NMI: the guest panics with the backtraces of all CPUs (unknown_nmi_panic, panic_sys_info=all_bt)."""
        self.command("inject-nmi")

    def close(self) -> None:
        with suppress(QMPError, OSError, EOFError):  # QEMU is gone, which is what we wanted
            self._monitor.close()
