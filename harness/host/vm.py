# SPDX-License-Identifier: GPL-2.0-only
"""QEMU's command line and the kernel's, decided without doing anything."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from harness.host.data import PACKAGE
from harness.model.kernel import Profile
from harness.model.variant import AddressMode, Variant

NPU_SLOT = "0x5"
NPU_ADDRESS = "0000:00:05.0"
DEVICE_TABLE_REGISTER = 0xFED80000
"""Where QEMU's AMD IOMMU shows the base of its device table (AMD I/O Virtualization spec, MMIO offset 0)."""
DEVICE_TABLE_MASK = 0x000F_FFFF_FFFF_F000

NPU_MILLISECONDS = 60_000
"""How long QEMU waits for the NPU's process, which may still be starting, or get no CPU time. QEMU's own 5 s are
little on a busy machine."""

CARVEOUT_BASE, CARVEOUT_SIZE = 0x30000000, 0x28000000
"""Guest memory that the kernel leaves alone (memmap=) and the driver can be told to use: 640 MiB, a full heap and more.
Every guest has it, so that one saved kernel serves all address modes."""

MEMORY_MB = {Profile.PLAIN: 1536 + 640, Profile.DEBUG: 3072 + 640}
CPUS = 2

DRIVER_PARAMETERS = {AddressMode.SVA: "", AddressMode.FORCE_IOVA: "force_iova=1", AddressMode.CARVEOUT: ""}
"""What an address mode asks of the driver. The NPU does the rest (harness/npu/pci.py); the machine is the same."""


@dataclass(frozen=True)
class Sockets:
    """Unix sockets of one boot, in a folder with a short path (108 bytes is the limit)."""

    folder: Path

    @property
    def npu(self) -> Path:
        return self.folder / "npu"

    @property
    def control(self) -> Path:
        return self.folder / "control"

    @property
    def port(self) -> Path:
        return self.folder / "port"

    @property
    def monitor(self) -> Path:
        return self.folder / "qmp"


@dataclass(frozen=True)
class Machine:
    """One virtual machine: what is booted, on what.

    ``qemu`` is the argv prefix, ``accel`` QEMU's options for accelerator and CPU, ``console`` the log file of the
    serial console (None: standard input and output), ``disk`` a second read-only disk (the payload, when it is booted
    by hand). ``memory``: the file that is the guest's RAM (empty: QEMU makes
    one). ``plugged``: the NPU is on the bus. ``incoming``: QEMU waits for a saved state instead of booting.
    ``lent``: the PCI address of this host's NPU, which is the guest's instead of an emulated one. ``qemu_key`` stands
    for the very build of QEMU: another one may have the same path.
    """

    qemu: tuple[str, ...]
    accel: tuple[str, ...]
    image: Path
    initrd: Path
    root: Path
    variant: Variant
    sockets: Sockets
    console: Path | None = None
    disk: Path | None = None
    parameters: tuple[str, ...] = ()
    memory: str = ""
    plugged: bool = True
    incoming: bool = False
    lent: str = ""
    qemu_key: str = ""

    @property
    def emulated(self) -> bool:
        """Whether an NPU process belongs to it."""
        return self.plugged and not self.lent

    @property
    def memory_bytes(self) -> int:
        return MEMORY_MB[self.variant.profile] << 20

    def saved_line(self) -> list[str]:
        """The command line that a saved state depends on, and whose: what must be the same when it is restored. The NPU
        is not in it, nor what belongs to one boot only."""
        neutral = replace(self, sockets=Sockets(Path("/SOCKETS")), console=Path("/CONSOLE"), plugged=False)
        return [*qemu_argv(replace(neutral, memory="/MEMORY", incoming=False)), self.qemu_key]

    def by_hand(self, disk: Path) -> Machine:
        """The same machine with its console on the terminal, which starts a shell instead of waiting for a port."""
        words = (*self.parameters, "xdna.payload=/dev/vdb")
        return replace(self, console=None, disk=disk, parameters=words, memory="", plugged=True, incoming=False)


def kernel_command_line(machine: Machine) -> str:
    """Parameters of the kernel under test.

    A panic or an oops ends QEMU (panic=-1 with -no-reboot); an NMI makes a hung kernel panic with the backtraces of all
    CPUs; a task that is stuck for 20 s is named on the console. The NMI must reach CPU 0 only (no apic_extnmi=all): one
    that hangs in an NMI of its own cannot be asked for its backtrace. KASAN would report once and then look away: a
    report at probe, which 7.3 has, would hide all that follow. A thousand reports fit into its log. With a lent NPU the
    host is KVM's, which is hidden from the driver and so from who would know better than to time the timer of a guest.
    """
    words = [
        "console=ttyS0 panic=-1 oops=panic tsc=reliable",
        "root=/dev/vda ro rootfstype=erofs init=/init",
        "unknown_nmi_panic panic_sys_info=all_bt sysctl.kernel.hung_task_timeout_secs=20 printk.devkmsg=on",
        f"iommu=pt memmap={CARVEOUT_SIZE >> 20}M${CARVEOUT_BASE:#x}",
        *(["kasan_multi_shot log_buf_len=16M"] if machine.variant.profile is Profile.DEBUG else []),
        *(["no_timer_check"] if machine.lent else []),
        *machine.parameters,
    ]
    return " ".join(words)


def qemu_argv(machine: Machine) -> list[str]:
    """The whole command line. The guest's memory is shared: the NPU process reads it as a device would."""
    memory = f"{MEMORY_MB[machine.variant.profile]}M"
    console = f"file,id=console,path={escaped(machine.console)}" if machine.console else "stdio,id=console,signal=off"
    # fmt: off
    argv = [
        *machine.qemu,
        "-M", "q35,kernel-irqchip=split" if "kvm" in machine.accel else "q35",
        *machine.accel,
        "-smp", str(CPUS),
        "-m", memory,
        "-object", _memory(machine, memory),
        "-machine", "memory-backend=ram",
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        *_iommu(machine),
        *(("-device", json.dumps(_npu(machine))) if machine.plugged else ()),
        "-chardev", console, "-serial", "chardev:console",
        *_disk("root", machine.root, "0x7"),
        "-device", "virtio-rng-pci,bus=pcie.0,addr=0x9",
        "-qmp", f"unix:{escaped(machine.sockets.monitor)},server=on,wait=off",
        "-kernel", str(machine.image),
        "-initrd", str(machine.initrd),
        "-append", kernel_command_line(machine),
    ]
    if machine.disk:
        argv += _disk("payload", machine.disk, "0x8")
    else:
        argv += [
            "-chardev", f"socket,id=port,path={escaped(machine.sockets.port)}",
            "-device", "virtio-serial-pci,bus=pcie.0,addr=0x6",
            "-device", "virtserialport,chardev=port,name=xdna",
        ]
    if machine.incoming:
        argv += ["-incoming", "defer", "-S"]
    # fmt: on
    return argv


def escaped(path: Path | str) -> str:
    """A path as a value of QEMU's options, which a comma ends."""
    return str(path).replace(",", ",,")


def _iommu(machine: Machine) -> tuple[str, ...]:
    """Of two devices, because only then can the machine be saved later. The driver probes only behind an IOMMU; a lent
    NPU needs one that tells the host's what it maps (dma-remap). PASIDs it passes on to nobody."""
    tells = "dma-remap=on" if machine.lent else "device-iotlb=on"
    return (
        *("-device", "AMDVI-PCI,id=iommupci0,bus=pcie.0,addr=0x1"),
        *("-device", f"amd-iommu,pci-id=iommupci0,{tells}"),
    )


def _npu(machine: Machine) -> dict[str, object]:
    if machine.lent:
        return {"driver": "vfio-pci", "id": "npu", "host": machine.lent, "bus": "pcie.0", "addr": NPU_SLOT}
    return npu_device(machine.sockets)


def npu_device(sockets: Sockets) -> dict[str, object]:
    """The NPU as QEMU's -device takes it."""
    return {
        "driver": "vfio-user-pci",
        "id": "npu",
        "socket": {"type": "unix", "path": str(sockets.npu)},
        "bus": "pcie.0",
        "addr": NPU_SLOT,
        "x-msg-timeout": NPU_MILLISECONDS,
    }


def _memory(machine: Machine, size: str) -> str:
    """Shared, so that the NPU's process sees it. A named file is left out of a saved state (RAM_NAMED_FILE in QEMU's
    softmmu/physmem.c); we save it ourselves."""
    kind = f"memory-backend-file,mem-path={escaped(machine.memory)}" if machine.memory else "memory-backend-memfd"
    return f"{kind},id=ram,size={size},share=on"


def _disk(name: str, path: Path, slot: str) -> list[str]:
    blockdev = {"driver": "file", "node-name": name, "filename": str(path), "read-only": True}
    return [
        "-blockdev",
        json.dumps(blockdev),
        "-device",
        f"virtio-blk-pci,drive={name},bus=pcie.0,addr={slot}",
    ]


def npu_argv(sockets: Sockets, variant: Variant, log: Path, listeners: tuple[int, int] | None = None) -> list[str]:
    """The emulated NPU's own process, as Python's arguments. ``listeners``: the file descriptors of its two sockets, if
    it inherits them."""
    device, control = [f"fd:{fd}" for fd in listeners] if listeners else [str(sockets.npu), str(sockets.control)]
    # fmt: off
    return [
        "-m", "harness.npu",
        "--socket", device,
        "--control", control,
        "--log", str(log),
        "--npu", variant.npu,
        "--address-mode", variant.address_mode.value,
    ]
    # fmt: on


SCRIPT = """#!/bin/sh
# Repeats this boot by hand, with the console on this terminal. Leave the shell to power off.
set -eu
export PYTHONPATH={package}${{PYTHONPATH:+:$PYTHONPATH}}
sockets=$(mktemp -d)
{npu}
{qemu}
"""
EMULATED = """\
trap 'kill $npu $table 2>/dev/null || :; rm -rf "$sockets"' EXIT
{npu} & npu=$!
i=0; while [ ! -S "$sockets/npu" ]; do
    i=$((i+1)); [ $i -lt 100 ] || {{ echo 'the emulated NPU did not start'; exit 3; }}; sleep 0.1
done
{python} -m harness.host.device_table "$sockets/qmp" "$sockets/control" & table=$!"""
LENT = """\
trap 'rm -rf "$sockets"' EXIT
case $(readlink /sys/bus/pci/devices/{lent}/driver) in
    *vfio-pci) ;;
    *) echo 'bind {lent} to vfio-pci first'; exit 3;;
esac"""


def qemu_script(python: str, machine: Machine, payload: Path) -> str:
    """A shell script that boots the same kernel with the same NPU, disk and payload by hand."""
    marker = Sockets(Path("/SOCKETS"))
    by_hand = replace(machine.by_hand(payload), sockets=marker)

    def quoted(argv: list[str]) -> str:
        # An option and its value share a line.
        text = [(" \\\n    " if word.startswith("-") else " ") + _with_sockets(word) for word in argv]
        return "".join(text).lstrip()

    emulated = [python, *npu_argv(marker, machine.variant, Path("/dev/null"))]
    npu = (
        LENT.format(lent=machine.lent)
        if machine.lent
        else EMULATED.format(npu=quoted(emulated), python=shlex.quote(python))
    )
    return SCRIPT.format(package=shlex.quote(str(PACKAGE.parent)), npu=npu, qemu=quoted(qemu_argv(by_hand)))


def _with_sockets(word: str) -> str:
    """Quote for sh, but let $sockets be expanded where the sockets' folder stood."""
    return '"$sockets"'.join(shlex.quote(part) if part else "" for part in word.split("/SOCKETS")) or "''"
