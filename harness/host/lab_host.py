# SPDX-License-Identifier: GPL-2.0-only
"""A PC with an NPU, of QEMU: a Debian on its own disk, sshd, GRUB, a watchdog, ERST, and the emulated NPU on its bus.

What a lab has of a machine of metal, and no more: an ssh port, a serial console, a plug. It reboots as often as its
guest likes; disk, ERST and NPU stay. ``python -m harness.host.lab_host FOLDER`` runs one until it is interrupted.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InfraError
from harness.formats.terminal import plain
from harness.host import proc
from harness.host.accel import Accelerator, measure
from harness.host.data import PACKAGE
from harness.host.device_table import follow
from harness.host.disk_image import disk_image
from harness.host.npu_process import NpuProcess
from harness.host.qemu import Qemu, find_qemu
from harness.host.qmp import Monitor
from harness.host.scratch import discard, socket_folder
from harness.host.ssh import Connection, connect
from harness.host.ssh_config import CONFIG, reach
from harness.host.store import Store
from harness.host.vm import Sockets, escaped, npu_device
from harness.model.variant import Variant

MEMORY = "2G"
CPUS = 2
ERST_BYTES = 1 << 16
NAME = "labhost"
"""What its ssh configuration calls it."""
OPEN_SECONDS = 20.0
RETRY_SECONDS = 2.0


@dataclass(frozen=True)
class Hardware:
    """What every lab host of this machine is made of. ``image`` is a folder of disk_image.py."""

    qemu: Qemu
    accelerator: Accelerator
    image: Path

    @classmethod
    def prepare(cls, store: Store) -> Hardware:
        """Fetch and make what is not there yet."""
        qemu = find_qemu(store)
        return cls(qemu, measure(qemu, store), disk_image(store))


class LabHost:
    """One machine. Its state is in ``folder``: disk.qcow2 and erst.bin live on when it is closed and opened again; also
    there are console.log, npu.jsonl, ssh_config, known_hosts. ``outside``: it may reach other machines (netconsole to
    us needs that), which else it may not.

    A context manager: inside it has power. Whatever it started ends with it, and with the thread that entered it.
    """

    def __init__(self, hardware: Hardware, folder: Path, variant: Variant | None = None, outside: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.hardware = hardware
        self.variant = variant or Variant()
        self.outside = outside
        self.console_path = folder / "console.log"
        self.port = _free_port()
        self._sockets = Sockets(socket_folder())
        self._qemu: subprocess.Popen[bytes] | None = None
        self._npu: NpuProcess | None = None
        self._watch = threading.Event()
        self._make()

    def _make(self) -> None:
        """Disk, ERST, and how to log in."""
        disk = self.folder / "disk.qcow2"
        if not disk.exists():
            base = self.hardware.image / "disk.img"
            argv: list[str | Path] = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", disk]
            proc.run(argv, what="making the lab host's disk", timeout=60)
        erst = self.folder / "erst.bin"
        if not erst.exists():
            erst.write_bytes(bytes(ERST_BYTES))
        key, known = self.folder / "id", self.folder / "known_hosts"
        key.touch(mode=0o600)
        shutil.copyfile(self.hardware.image / "id", key)
        key.chmod(0o600)
        kind, host_key = (self.hardware.image / "host_key.pub").read_text().split()[:2]
        known.write_text(f"[127.0.0.1]:{self.port} {kind} {host_key}\n")
        self.ssh_config.write_text(
            f"Host {NAME}\n  HostName 127.0.0.1\n  Port {self.port}\n  User root\n  IdentitiesOnly yes\n"
            f"  IdentityFile {key}\n  UserKnownHostsFile {known}\n"
        )

    @property
    def ssh_config(self) -> Path:
        return self.folder / "ssh_config"

    def power_command(self, what: str = "{what}") -> str:
        """A shell command that does ``what`` (on, off, cycle, status) to the plug."""
        words = ["env", f"PYTHONPATH={PACKAGE.parent}", sys.executable, "-m", "harness.host.plug"]
        return f"{shlex.join([*words, str(self._plug)])} {what}"

    def console_command(self) -> str:
        """A shell command whose output is the console, from now on."""
        return f"exec tail -n 0 -F {shlex.quote(str(self.console_path))} 2>/dev/null"

    @property
    def _plug(self) -> Path:
        return self._sockets.folder / "plug"

    def __enter__(self) -> LabHost:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Have power. InfraError: QEMU or the NPU do not come up."""
        for old in (self._plug, self._sockets.monitor):  # of before :meth:`stop`
            old.unlink(missing_ok=True)
        events, log = self.folder / "npu.jsonl", self.folder / "npu.log"
        self._npu = NpuProcess(self._sockets, self.variant, events, log)
        self.npu = self._npu.connect(self._sockets.control)
        self._qemu = proc.spawn(self.argv(), log=self.folder / "qemu.log")
        deadline = time.monotonic() + OPEN_SECONDS
        while not self._plug.exists() or not self._sockets.monitor.exists():
            if self._qemu.poll() is not None or time.monotonic() > deadline:
                raise InfraError("the lab host's QEMU does not start", log=self.folder / "qemu.log")
            time.sleep(0.05)
        self.monitor = Monitor(self._sockets.monitor)
        self._watch.clear()
        words = self._sockets.folder / "watch", self.npu, self._watch
        threading.Thread(target=follow, args=words, name="device table", daemon=True).start()

    def log_in(self, seconds: float = 0.0) -> Connection:
        """A connection as root. InfraError: it does not answer within so many seconds."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return connect(reach(NAME, {CONFIG: str(self.ssh_config)}))
            except InfraError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(RETRY_SECONDS)

    def alive(self) -> bool:
        """Whether the emulation runs, whatever its guest does."""
        return self._qemu is not None and self._qemu.poll() is None and self._npu is not None and self._npu.alive()

    def link(self, up: bool) -> None:
        """Plug the network cable in, or pull it."""
        self.monitor.command("human-monitor-command", **{"command-line": f"set_link nic {'on' if up else 'off'}"})

    def console(self, since: int = 0) -> str:
        """The console from byte ``since`` on. Hostile input."""
        if not self.console_path.exists():
            return ""
        with self.console_path.open("rb") as stream:
            stream.seek(since)
            return plain(stream.read())

    def stop(self) -> None:
        """Take all power away at once. :meth:`start` may follow."""
        self._watch.set()
        if self._qemu is not None:
            self._qemu.kill()
            self._qemu.wait(10)
            self._qemu = None
            self.monitor.close()
        if self._npu is not None:
            self.npu.close()
            self._npu.kill()
            self._npu = None

    def close(self) -> None:
        """Safe to call twice."""
        self.stop()
        discard(self._sockets.folder)

    def argv(self) -> list[str]:
        """QEMU's command line. A guest that powers off leaves a machine that can be switched on again.

        There is no PIT: a kernel that times the processor by it and by the HPET believes the PIT, which on a busy
        machine made its clock run thirty times too fast (arch/x86/kernel/tsc.c, pit_hpet_ptimer_calibrate_cpu()).
        """
        disk = {
            "driver": "qcow2",
            "node-name": "disk",
            "discard": "unmap",
            "file": {"driver": "file", "filename": str(self.folder / "disk.qcow2")},
        }
        split = ",kernel-irqchip=split" if self.hardware.accelerator.name == "kvm" else ""
        restrict = "off" if self.outside else "on"
        console = f"socket,id=console,path={escaped(self._sockets.folder)}/console,server=on,wait=off"
        erst = f"mem-path={escaped(self.folder)}/erst.bin,size={ERST_BYTES},share=on"
        # fmt: off
        return [
            *self.hardware.qemu.argv,
            "-name", NAME,
            "-M", f"q35,sata=off,smbus=off,pit=off{split}",
            *self.hardware.accelerator.argv,
            "-smp", str(CPUS),
            "-m", MEMORY,
            "-object", f"memory-backend-memfd,id=ram,size={MEMORY},share=on",
            "-machine", "memory-backend=ram",
            "-nodefaults", "-no-user-config", "-display", "none",
            "-action", "shutdown=pause",
            "-device", "AMDVI-PCI,id=iommupci0,bus=pcie.0,addr=0x1",
            "-device", "amd-iommu,pci-id=iommupci0,device-iotlb=on",
            "-device", json.dumps(npu_device(self._sockets)),
            "-chardev", f"{console},logfile={escaped(self.console_path)},logappend=on",
            "-serial", "chardev:console",
            "-blockdev", json.dumps(disk),
            "-device", "virtio-blk-pci,drive=disk,bus=pcie.0,addr=0x7,bootindex=0",
            "-device", "virtio-rng-pci,bus=pcie.0,addr=0x9",
            "-netdev", f"user,id=net,restrict={restrict},hostfwd=tcp:127.0.0.1:{self.port}-10.0.2.15:22",
            "-device", "virtio-net-pci,id=nic,netdev=net,bus=pcie.0,addr=0xa,romfile=",
            "-device", "i6300esb,bus=pcie.0,addr=0xb",
            "-object", f"memory-backend-file,id=erst,{erst}",
            "-device", "acpi-erst,memdev=erst,bus=pcie.0,addr=0xc",
            "-qmp", f"unix:{escaped(self._sockets.monitor)},server=on,wait=off",
            "-qmp", f"unix:{escaped(self._sockets.folder)}/watch,server=on,wait=off",
            "-qmp", f"unix:{escaped(self._plug)},server=on,wait=off",
        ]
        # fmt: on


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(folder: Path) -> int:
    """Run one for a person."""
    with LabHost(Hardware.prepare(Store()), folder) as host:
        print(f"log in:  ssh -F {host.ssh_config} {NAME}")
        print(f"console: {host.console_command()}")
        print(f"plug:    {host.power_command('on|off|cycle|status')}", flush=True)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            while host.alive():
                time.sleep(1)
        except KeyboardInterrupt:
            return 0
    print(f"it ended: see {folder}{os.sep}qemu.log and npu.log", file=sys.stderr)
    return 3


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
