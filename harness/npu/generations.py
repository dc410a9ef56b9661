# SPDX-License-Identifier: GPL-2.0-only
"""The NPUs as data.

Figures come from drivers/accel/amdxdna of Linux 7.3 (file named at each table). What the driver does not
fix, because the firmware tells it (ring places, number of columns) or it never looks (BAR sizes), is
marked "ours".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

MIB = 1 << 20
HEAP_BASE = 0x4000000
"""Device address of the heap's first byte (aie2_pci.h, AIE2_DEVM_BASE)."""
HEAP_CHUNK = 64 * MIB
"""What one ADD_HOST_BUFFER announces (aie2_pci.h, AIE2_DEVM_SIZE)."""
HEAP_WINDOW = 512 * MIB
"""Device addresses that mean the heap; others are host addresses (aie2_pci.h, AIE2_DEVM_MAX_SIZE)."""

MAGIC = 0x55504E5F
"""First word that the driver trusts in the channel information (aie2_pci.c, MGMT_MBOX_MAGIC)."""


class Register(NamedTuple):
    """A 32-bit register: BAR and byte offset in it."""

    bar: int
    offset: int


class Protocol(NamedTuple):
    """Version of the management protocol; decides which messages the driver may send."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Protocol:
        """From "7.0". Raises ValueError."""
        major, minor = text.split(".")
        return cls(int(major), int(minor))


@dataclass(frozen=True)
class PspRegisters:
    """aie.h, enum psp_reg_idx. Command and status may be one register, argument 0 and response too."""

    command: Register
    argument0: Register
    argument1: Register
    argument2: Register
    interrupt: Register
    status: Register
    response: Register
    wait_mode: Register


@dataclass(frozen=True)
class SmuRegisters:
    """aie.h, enum smu_reg_idx."""

    command: Register
    argument: Register
    interrupt: Register
    response: Register
    output: Register


@dataclass(frozen=True)
class MailboxPlaces:
    """Where the firmware puts its channels.

    ``bar`` and ``base``: BAR of the channel registers and its device address; ``sram`` and ``sram_base``:
    the same of the rings; ``alive``: offset in SRAM of the pointer to the channel information, which lies
    at ``info``. Slot n has its rings at ``rings + n * 0x2000`` (requests, then answers, 4 KiB each) and
    its registers at ``registers + n * 0x100``. Slot 0 is the management channel, ``slots`` are those of
    contexts.
    """

    bar: int
    base: int
    sram: int
    sram_base: int
    alive: int
    info: int
    rings: int
    slots: tuple[int, ...]
    registers: int


@dataclass(frozen=True)
class Array:
    """The AIE array as QUERY_AIE_TILE_INFO tells it (ours; columns after the driver's aie2_max_col
    comments).
    """

    columns: int
    rows: int = 6
    core_rows: int = 4
    column_bytes: int = 0x1000


@dataclass(frozen=True)
class Generation:
    """One NPU. ``since`` gives the first protocol version that knows a message, if not all do."""

    name: str
    device: int
    revision: int
    bars: Mapping[int, int]
    known: tuple[tuple[int, range], ...]
    psp: PspRegisters
    smu: SmuRegisters
    mailbox: MailboxPlaces
    array: Array
    protocol: Protocol
    heap_maximum: int
    contexts: int
    dev_revision: int = 0
    since: Mapping[str, Protocol] = field(default_factory=dict)

    @property
    def vectors(self) -> int:
        """MSI-X vectors: one for the management channel, one per context (ours)."""
        return self.contexts + 1


NEVER = Protocol(1 << 16, 0)

# npu4_regs.c; npu5_regs.c and npu6_regs.c hold the same addresses. Bases: MMNPU_APERTURE0 (BAR 0,
# registers and mailbox), 1 (BAR 2, SRAM), 3 (BAR 4, PSP), 4 (BAR 5, SMU).
_NPU4_PSP = PspRegisters(
    command=Register(4, 0xAEC),
    argument0=Register(0, 0x10078),
    argument1=Register(0, 0x1007C),
    argument2=Register(0, 0x10090),
    interrupt=Register(4, 0xA24),
    status=Register(4, 0xAEC),
    response=Register(0, 0x10078),
    wait_mode=Register(0, 0x1003C),
)
_NPU4_SMU = SmuRegisters(
    command=Register(5, 0x900),
    argument=Register(5, 0x9F0),
    interrupt=Register(5, 0x0),
    response=Register(5, 0x9F4),
    output=Register(5, 0x9F0),
)
# The alive pointer lies where slot 15 has its requests, so slot 15 is left out.
_NPU4_MAILBOX = MailboxPlaces(
    bar=0,
    base=0x3000000,
    sram=2,
    sram_base=0x3600000,
    alive=0x1E000,
    info=0x1F000,
    rings=0x0,
    slots=(*range(1, 15), 16, 17),
    registers=0x20000,
)
_NPU4_BARS = {0: 0x100000, 1: 0x2000, 2: 0x40000, 4: 0x10000, 5: 0x10000}  # sizes are ours
_NPU4_KNOWN = ((0, range(0x10060, 0x100AC, 4)),)  # MPNPU_PUB_SEC_INTR to MPNPU_PUB_SCRATCH15
# npu4_fw_feature_table; a name is that of messages.py.
_NPU4_SINCE = {
    "UPDATE_PROPERTY": Protocol(6, 15),
    "CHAIN_EXEC_NPU": Protocol(6, 15),
    "GET_APP_HEALTH": Protocol(6, 18),
    "ADD_HOST_BUFFER": Protocol(6, 18),
    "GET_DEV_REVISION": Protocol(6, 24),
}


def _npu4_family(name: str, revision: int, dev_revision: int) -> Generation:
    return Generation(
        name=name,
        device=0x17F0,
        revision=revision,
        bars=_NPU4_BARS,
        known=_NPU4_KNOWN,
        psp=_NPU4_PSP,
        smu=_NPU4_SMU,
        mailbox=_NPU4_MAILBOX,
        array=Array(columns=8),
        protocol=Protocol(7, 0),
        heap_maximum=HEAP_WINDOW,
        contexts=16,  # hwctx_limit
        dev_revision=dev_revision,
        since=_NPU4_SINCE,
    )


# npu1_regs.c. Apertures: 0 at 0x3000000 (BAR 0: registers, PSP, SMU), 1 at 0x3080000 (BAR 2: SRAM), 2 at
# 0x30C0000 (BAR 4: mailbox). The alive pointer lies at the end of slot 15; only 6 contexts are allowed, so
# no slot meets it.
_NPU1 = Generation(
    name="npu1",
    device=0x1502,
    revision=0x00,
    bars={0: 0x80000, 1: 0x2000, 2: 0x40000, 4: 0x10000},  # sizes are ours
    known=((0, range(0x10090, 0x100C0, 4)),),  # MPNPU_PUB_SEC_INTR to MPNPU_PUB_SCRATCH9
    psp=PspRegisters(
        command=Register(0, 0x100A0),
        argument0=Register(0, 0x100A4),
        argument1=Register(0, 0x100A8),
        argument2=Register(0, 0x100BC),
        interrupt=Register(0, 0x10090),
        status=Register(0, 0x100A0),
        response=Register(0, 0x100A4),
        wait_mode=Register(0, 0x10034),
    ),
    smu=SmuRegisters(
        command=Register(0, 0x100AC),
        argument=Register(0, 0x100B4),
        interrupt=Register(0, 0x10094),
        response=Register(0, 0x100B0),
        output=Register(0, 0x100B4),
    ),
    mailbox=MailboxPlaces(
        bar=4,
        base=0x30C0000,
        sram=2,
        sram_base=0x3080000,
        alive=0x3F000,
        info=0x3E000,
        rings=0x20000,
        slots=tuple(range(1, 7)),
        registers=0x0,
    ),
    array=Array(columns=5),
    protocol=Protocol(5, 8),
    heap_maximum=HEAP_CHUNK,
    contexts=6,  # hwctx_limit
    since={
        "CHAIN_EXEC_NPU": Protocol(5, 8),
        "UPDATE_PROPERTY": NEVER,
        "GET_APP_HEALTH": NEVER,
        "ADD_HOST_BUFFER": NEVER,
        "GET_DEV_REVISION": NEVER,
    },
)

# Revisions are amdxdna_pci_drv.c, amdxdna_ids; the answers to GET_DEV_REVISION (aie2_msg_priv.h, enum
# aie2_dev_revision: Strix, Strix Halo, Krackan 1) are ours.
GENERATIONS = {
    g.name: g
    for g in (
        _NPU1,
        _npu4_family("npu4", 0x10, 1),
        _npu4_family("npu5", 0x11, 5),
        _npu4_family("npu6", 0x20, 3),
    )
}
