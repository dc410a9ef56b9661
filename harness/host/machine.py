# SPDX-License-Identifier: GPL-2.0-only
"""One Boot: the QEMU process, the NPU process, the console, the port. Nobody else starts them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import InfraError
from harness.formats.terminal import plain
from harness.host.device_table import device_table
from harness.host.guest_memory import GuestMemory
from harness.host.npu_process import NpuProcess
from harness.host.port import Port
from harness.host.proc import kill_group, spawn
from harness.host.qmp import Monitor
from harness.host.scratch import listening, socket_folder
from harness.host.snapshot import load, load_memory, save
from harness.host.vm import Machine, Sockets, qemu_argv, qemu_script

CONNECT_SECONDS = 20.0
NMI_SECONDS = 30.0
"""How long a kernel may take to print its backtraces and panic after an NMI, under emulation."""
TAIL_LINES = 160


@dataclass(frozen=True)
class Silence:
    """Why a guest does not answer any more.

    ``ours`` is true when QEMU, the NPU process or the link is at fault (nobody knows what the kernel would have done),
    false when the kernel is. ``console`` is what the kernel printed since the mark.
    """

    ours: bool
    evidence: str
    console: str


def write_script(machine: Machine, folder: Path, payload: Path) -> Path:
    """Write qemu.sh, which repeats a boot by hand."""
    script = folder / "qemu.sh"
    script.write_text(qemu_script(sys.executable, machine, payload))
    script.chmod(0o755)
    return script


class Boot:
    """A running guest. Use as a context manager; everything it started ends with it.

    ``folder`` receives console.log, npu.jsonl, qemu.log and qemu.sh, which expects a disk in ``payload``. With
    ``state``, a saved guest goes on instead of a kernel being booted.
    """

    def __init__(self, machine: Machine, folder: Path, state: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.payload = folder / "payload.tar"
        self.console_path = folder / "console.log"
        self.npu_log = folder / "npu.jsonl"
        self._sockets = socket_folder()
        self.machine = replace(
            machine, sockets=Sockets(self._sockets), console=self.console_path, incoming=state is not None
        )
        self.state = state
        self._memory = GuestMemory(machine.memory_bytes)
        self._qemu: subprocess.Popen[bytes] | None = None
        self._npu: NpuProcess | None = None
        self._monitor: Monitor | None = None
        self._mark = 0
        self._killed = False
        write_script(self.machine, folder, self.payload)

    def __enter__(self) -> Boot:
        try:
            self._start()
        except BaseException as error:
            fault = self.npu_fault()
            self.close()
            if fault and isinstance(error, InfraError):  # QEMU goes with it, and says less
                raise InfraError(fault, log=self.folder / "npu.log", transient=True) from error
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        started = time.monotonic()
        if self.machine.emulated:
            sockets, variant = self.machine.sockets, self.machine.variant
            self._npu = NpuProcess(sockets, variant, self.npu_log, self.folder / "npu.log")
        listener = listening(self.machine.sockets.port)
        listener.settimeout(0.2)
        if self.state is not None:
            load_memory(self._memory, self.state)  # while the NPU's Python starts
        self.started = time.monotonic()
        argv = qemu_argv(replace(self.machine, memory=self._memory.path))
        self._qemu = spawn(argv, log=self.folder / "qemu.log", fds=[self._memory.fd])
        while True:
            try:
                stream, _ = listener.accept()
                break
            except TimeoutError:
                self._check_started(started)
        listener.close()
        stream.settimeout(None)
        self.port = Port(stream)
        if self._npu is not None:
            self.npu = self._npu.connect(self.machine.sockets.control)
        if self.state is not None:
            load(self.monitor, self.state)

    def save(self, folder: Path, facts: Mapping[str, object]) -> None:
        """Save the guest into ``folder``; only :meth:`close` may follow. The guest's agent must be waiting for a
        command.

        Our end of the port is closed first, so that a restored guest waits for a peer.
        """
        self.port.close()
        save(self.monitor, self._memory, folder, facts)

    def _check_started(self, started: float) -> None:
        if fault := self.npu_fault():
            raise InfraError(fault)
        if self._qemu is not None and self._qemu.poll() is not None:
            raise InfraError(
                f"QEMU ended at once with status {self._qemu.returncode}: {self._log_tail('qemu.log')}",
                log=self.folder / "qemu.log",
            )
        if time.monotonic() - started > CONNECT_SECONDS:
            raise InfraError(
                f"QEMU did not open the port within {CONNECT_SECONDS:.0f} s",
                log=self.folder / "qemu.log",
                transient=True,
            )

    @property
    def monitor(self) -> Monitor:
        """QEMU's monitor, connected at first use."""
        if self._monitor is None:
            self._monitor = Monitor(self.machine.sockets.monitor)
        return self._monitor

    def announce_device_table(self) -> int:
        """Tell the NPU where the guest's IOMMU tables are: 0, and nothing told, if the guest set up no IOMMU."""
        base = device_table(self.monitor)
        if base and self._npu is not None:
            self.npu.request("device-table", base=base)
        return base

    def alive(self) -> bool:
        """Whether both processes still run; a guest that is made to be saved may have no NPU."""
        qemu = self._qemu is not None and self._qemu.poll() is None
        return qemu and (not self.machine.emulated or (self._npu is not None and self._npu.alive()))

    def mark(self) -> None:
        """From now on: what :meth:`silence` shows of the console begins here."""
        self._mark = self.console_path.stat().st_size if self.console_path.exists() else 0

    def console(self, since: int = 0) -> str:
        """The console from byte ``since`` on, as text without terminal codes. Hostile input all the same."""
        if not self.console_path.exists():
            return ""
        with self.console_path.open("rb") as stream:
            stream.seek(since)
            return plain(stream.read())

    def npu_fault(self) -> str:
        """What the emulation did wrong, if its process ended by itself; else empty."""
        return self._npu.fault() if self._npu is not None else ""

    def silence(self, waited: str) -> Silence:
        """Find out why the guest does not answer, and end it. ``waited`` says what was waited for."""
        if self._killed:
            return Silence(True, f"{waited}; the run was stopped", self._since_mark())
        fault = self.npu_fault()
        if fault:
            return Silence(True, fault, self._since_mark())
        if self._qemu is not None and self._wait_qemu(0.5):
            return self._ended(waited)
        before = self._cpu_seconds(), len(self.console())
        try:
            self.monitor.inject_nmi()
        except InfraError as error:
            return Silence(True, f"{waited}; then {error.message}", self._since_mark())
        ended = self._wait_qemu(NMI_SECONDS)
        grown = len(self.console()) > before[1]
        if not ended and not grown and self._cpu_seconds() - before[0] < 0.1:
            return Silence(True, f"{waited}; the guest got no CPU time in {NMI_SECONDS:.0f} s", self._since_mark())
        said = "it answered an NMI with the backtrace below" if grown else "it did not even answer an NMI"
        return Silence(False, f"{waited}; {said}\n{self._tail()}", self._since_mark())

    def _ended(self, waited: str) -> Silence:
        """QEMU is gone: by the guest's own reset after a panic, or by itself?"""
        assert self._qemu is not None
        status, console, said = self._qemu.returncode, self._since_mark(), self._log_tail("qemu.log")
        if status != 0 or "terminating on signal" in said:  # a signal from outside ends QEMU with status 0
            text = f"QEMU ended with status {status}: {said}"
            return Silence(True, f"{waited}; {text}", console)
        return Silence(False, f"{waited}; the guest reset itself\n{self._tail()}", console)

    def _wait_qemu(self, seconds: float) -> bool:
        assert self._qemu is not None
        try:
            self._qemu.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _cpu_seconds(self) -> float:
        """CPU time of QEMU so far (/proc/PID/stat, fields 14 and 15: proc(5))."""
        assert self._qemu is not None
        try:
            fields = Path(f"/proc/{self._qemu.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _since_mark(self) -> str:
        return self.console(self._mark)

    def _tail(self) -> str:
        return "\n".join(self._since_mark().splitlines()[-TAIL_LINES:])

    def _log_tail(self, name: str) -> str:
        path = self.folder / name
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        return " | ".join(lines[-3:]) or "it said nothing"

    def kill(self) -> None:
        """End both processes, from any thread; :meth:`close` still has to follow. Whoever waits for the guest learns
        that it was us."""
        self._killed = True
        if self._qemu is not None:
            kill_group(self._qemu)
        if self._npu is not None:
            self._npu.kill()

    def close(self) -> None:
        """End everything this boot started. Safe to call twice."""
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
        self.kill()
        self._memory.close()
        for name in ("port", "npu"):
            held = getattr(self, name, None)
            if held is not None:
                held.close()
        shutil.rmtree(self._sockets, ignore_errors=True)
