# SPDX-License-Identifier: GPL-2.0-only
"""KVM or TCG, by a measurement: a /dev/kvm that exists may be hundreds of times slower than emulation.

A tiny ROM of our own counts in a loop, in 64-bit mode with paging as a kernel would run; its counter lies in
guest memory that we see as a file. So a guest that gets nowhere costs no more than the wait for it.
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import InfraError
from harness.host import notes, proc
from harness.host.qemu import Qemu
from harness.host.store import Store, key_of
from harness.host.vm import escaped

START_SECONDS = 10.0
"""How long an emulated guest may take to its first count."""
KVM_SECONDS = 1.0
"""The same under KVM: slower to start than this is useless."""
SAMPLE_SECONDS = 0.25

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_ROM = 0xFFFF0000
_COUNTER = 0x1000
_PER_COUNT = 2003

_REAL_MODE = bytes.fromhex(
    "2e660f01162040"  # lgdtl %cs:0x4020
    "66b820000000 0f22e0"  # CR4 = PAE
    "66b80000ffff 0f22d8"  # CR3 = the first page of the ROM
    "66b9800000c0 66b800010000 6631d2 0f30"  # EFER = LME
    "66b811000080 0f22c0"  # CR0 = PG | ET | PE
    "66ea0050ffff0800"  # ljmpl $8, $0xffff5000
)
_LONG_MODE = bytes.fromhex(
    "b9e8030000"  # outer: mov $1000, %ecx
    "ffc9 75fc"  # inner: dec %ecx; jnz inner
    "48ff042500100000"  # incq 0x1000
    "ebed"  # jmp outer
)


@dataclass(frozen=True)
class Accelerator:
    """How QEMU runs the guest's instructions, and why. Rates: instructions per second; None: not measured."""

    name: str
    reason: str
    kvm_rate: float | None
    tcg_rate: float | None

    @property
    def argv(self) -> tuple[str, ...]:
        """QEMU's options. Without the hypervisor bit, since the driver wants X86_HYPER_NATIVE."""
        if self.name == "kvm":
            return ("-accel", "kvm", "-cpu", "host,-hypervisor")
        return ("-accel", "tcg,thread=multi", "-cpu", "max,-hypervisor,-la57")


def choose(kvm_rate: float | None, tcg_rate: float | None, no_kvm: str = "") -> Accelerator:
    """The faster of the two; ``no_kvm`` says why KVM was not tried."""
    if kvm_rate is None or tcg_rate is None:
        return Accelerator("tcg", f"tcg: {no_kvm}", kvm_rate, tcg_rate)
    if kvm_rate > tcg_rate:
        times = kvm_rate / tcg_rate
        return Accelerator("kvm", f"kvm: {times:.1f} times as fast as tcg", kvm_rate, tcg_rate)
    if kvm_rate == 0:
        return Accelerator("tcg", "tcg: KVM is there but its guest never got anywhere", kvm_rate, tcg_rate)
    times = tcg_rate / kvm_rate
    return Accelerator("tcg", f"tcg: KVM is there but {times:.0f} times slower", kvm_rate, tcg_rate)


def measure(qemu: Qemu, store: Store) -> Accelerator:
    """The accelerator for this machine, measured once per boot of it. InfraError: QEMU does not run."""
    no_kvm = _no_kvm()
    note = store.path("prefixes", f"accel-{key_of(boot=_BOOT_ID.read_text(), qemu=qemu.key, no_kvm=no_kvm)}.json")
    if known := notes.read_json(note):
        return Accelerator(**known)
    if no_kvm:
        chosen = choose(None, None, no_kvm)
    else:
        tcg = rate(qemu, choose(None, None), START_SECONDS)
        if tcg == 0:
            raise InfraError(f"a guest in {qemu.argv[0]} does not run", hint="is this QEMU whole?")
        chosen = choose(rate(qemu, Accelerator("kvm", "", None, None), KVM_SECONDS), tcg)
    note.parent.mkdir(parents=True, exist_ok=True)
    notes.write(note, json.dumps(asdict(chosen)))
    return chosen


def rate(qemu: Qemu, accelerator: Accelerator, limit: float) -> float:
    """Instructions per second of a guest; 0 when it has not counted at all within ``limit`` seconds."""
    with tempfile.TemporaryDirectory(prefix="xdna-accel-") as name:
        folder = Path(name)
        (folder / "rom").write_bytes(rom())
        memory = folder / "memory"
        process = proc.spawn(_command(qemu, accelerator, folder), log=folder / "log")
        try:
            deadline = time.monotonic() + limit
            while (first := _count(memory)) == 0:
                if time.monotonic() > deadline or process.poll() is not None:
                    return 0.0
                time.sleep(0.005)
            started = time.monotonic()
            time.sleep(SAMPLE_SECONDS)
            counted = _count(memory) - first
            return counted * _PER_COUNT / (time.monotonic() - started)
        finally:
            proc.kill_group(process, grace=0.5)


def rom() -> bytes:
    """64 KiB that end at 4 GiB: page tables (here, so that nothing needs memory), a GDT and the loop."""
    image = bytearray(0x10000)
    present, accessed = 0x23, 0xE3  # a table; a 2 MiB page, accessed and dirty so that nothing is written
    tables = {
        0x0000: _ROM + 0x1000 | present,
        0x1000: _ROM + 0x2000 | present,  # 0 to 2 MiB, where the counter is
        0x1018: _ROM + 0x3000 | present,  # the last 2 MiB below 4 GiB, where the ROM is
        0x2000: accessed,
        0x3FF8: 0xFFE00000 | accessed,
        0x4008: 0x00209B000000FFFF,  # GDT: 64-bit code
    }
    for offset, entry in tables.items():
        struct.pack_into("<Q", image, offset, entry)
    struct.pack_into("<HI", image, 0x4020, 15, _ROM + 0x4000)  # GDTR
    image[0x5000 : 0x5000 + len(_LONG_MODE)] = _LONG_MODE
    image[0xFF00 : 0xFF00 + len(_REAL_MODE)] = _REAL_MODE
    image[0xFFF0:0xFFF3] = b"\xe9" + struct.pack("<h", 0xFF00 - 0xFFF3)  # where the processor starts: jmp
    return bytes(image)


def _command(qemu: Qemu, accelerator: Accelerator, folder: Path) -> list[str]:
    memory = f"memory-backend-file,id=ram,size=16M,share=on,mem-path={escaped(folder)}/memory"
    return [
        *qemu.argv,
        *accelerator.argv,
        *("-M", "q35,memory-backend=ram", "-object", memory, "-m", "16M", "-bios", f"{folder}/rom"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
    ]


def _count(memory: Path) -> int:
    try:
        with memory.open("rb", buffering=0) as stream:
            stream.seek(_COUNTER)
            return int.from_bytes(stream.read(8), "little")
    except FileNotFoundError:
        return 0


def _no_kvm() -> str:
    """Why KVM cannot be tried here; empty when it can."""
    if not os.path.exists("/dev/kvm"):
        return "there is no /dev/kvm"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "/dev/kvm may not be opened by this user"
    return ""
