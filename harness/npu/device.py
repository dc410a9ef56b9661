# SPDX-License-Identifier: GPL-2.0-only
"""The whole NPU as one vfio-user device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.npu.board import Board
from harness.npu.events import EventLog
from harness.npu.firmware import Firmware
from harness.npu.generations import Generation, Protocol, Register
from harness.npu.iommu import Iommu
from harness.npu.pci import CONFIG_SIZE, MSIX_BAR, ConfigSpace
from harness.npu.psp import Psp
from harness.npu.registers import Registers, Storage
from harness.npu.script import Script
from harness.npu.smu import Smu
from harness.vfio_user.device import CONFIG_REGION, REGIONS, Bus, Irq, Region
from harness.vfio_user.loop import Loop
from harness.vfio_user.memory import DmaError
from harness.vfio_user.region import SharedRegion

SVA, FORCE_IOVA, CARVEOUT = ADDRESS_MODES = ("sva", "force-iova", "carveout")
DEFAULT_BDF = 0x28
"""00:05.0, where the machine has the NPU."""
DEFERRED_SECONDS = 0.003


@dataclass(frozen=True)
class Settings:
    """What the command line says. ``protocol`` None: the generation's own."""

    generation: Generation
    address_mode: str = SVA
    protocol: Protocol | None = None
    deferred: bool = False
    bdf: int = DEFAULT_BDF


class _NoBus:
    """Memory while no client is there."""

    def read(self, address: int, size: int) -> bytes:
        raise DmaError("no client is connected")

    def write(self, address: int, data: bytes) -> None:
        raise DmaError("no client is connected")


class Npu:
    """Implements harness.vfio_user.device.Device."""

    def __init__(self, settings: Settings, log: EventLog, loop: Loop) -> None:
        self.settings = settings
        generation = settings.generation
        self.script = Script()
        self.log = log
        self._bus: Bus | None = None
        self._sram = SharedRegion("npu-sram", generation.bars[generation.mailbox.sram])
        self._registers = Registers(log.fault)
        self._storage = Storage({MSIX_BAR: generation.bars[MSIX_BAR]})
        self._config = ConfigSpace(generation, settings.address_mode != CARVEOUT, self._flr)
        self.iommu = Iommu(_NoBus(), settings.bdf, settings.address_mode == FORCE_IOVA)
        self._board = board = Board(
            generation,
            settings.protocol or generation.protocol,
            self._registers,
            self.script,
            log,
            loop,
            DEFERRED_SECONDS if settings.deferred else 0.0,
        )
        contiguous = settings.address_mode == SVA
        self.firmware = Firmware(board, self._sram, self.iommu, self._interrupt, contiguous)
        self._psp = Psp(board, self.firmware.boot, self.firmware.stop)
        self._smu = Smu(board, self._power)
        for bar, offsets in generation.known:
            for offset in offsets:
                self._registers.define(Register(bar, offset))
        self._regions = tuple(self._region(index) for index in range(REGIONS))
        self._irqs = tuple(generation.vectors if irq is Irq.MSIX else 0 for irq in Irq)
        self._readers = {index: self._reader(index) for index, r in enumerate(self._regions) if r.size}
        self._writers = {index: self._writer(index) for index, r in enumerate(self._regions) if r.size}
        self.power_up()

    def _region(self, index: int) -> Region:
        if index == CONFIG_REGION:
            return Region(CONFIG_SIZE)
        mailbox = self.settings.generation.mailbox
        return Region(self.settings.generation.bars.get(index, 0), self._sram.fd if index == mailbox.sram else None)

    def _reader(self, index: int) -> Callable[[int, int], bytes]:
        if index == CONFIG_REGION:
            return self._config.read
        if index == self.settings.generation.mailbox.sram:
            return lambda offset, count: self._sram.view[offset : offset + count]
        bars = self._storage if index == MSIX_BAR else self._registers
        return lambda offset, count: bars.read(index, offset, count)

    def _writer(self, index: int) -> Callable[[int, bytes], None]:
        if index == CONFIG_REGION:
            return self._config.write
        if index == self.settings.generation.mailbox.sram:
            return self._write_sram
        bars = self._storage if index == MSIX_BAR else self._registers
        return lambda offset, data: bars.write(index, offset, data)

    def _write_sram(self, offset: int, data: bytes) -> None:
        self._sram.view[offset : offset + len(data)] = data

    # Device

    @property
    def regions(self) -> Sequence[Region]:
        return self._regions

    @property
    def irqs(self) -> Sequence[int]:
        return self._irqs

    def attach(self, bus: Bus) -> None:
        """A client is there: power up."""
        self._bus = bus
        self.iommu.memory = bus.memory
        self.power_up()

    def detach(self) -> None:
        """The client is gone, and with it what it told us: its memory and its device table."""
        self._bus = None
        self.iommu.memory = _NoBus()
        self.iommu.base = None
        self.power_up()

    def reset(self) -> None:
        self.log.event("reset", how="client")
        self.power_up()

    def read(self, region: int, offset: int, count: int) -> bytes:
        return self._readers[region](offset, count)

    def write(self, region: int, offset: int, data: bytes) -> None:
        self._writers[region](offset, data)

    # Inside

    def power_up(self) -> None:
        """The state after power-on: nothing runs, registers and SRAM are zero. Rules and log stay."""
        self.firmware.stop()
        self._config.reset()
        self._registers.zero()
        self._sram.zero()
        self._psp.power_up()
        self._smu.power_up()

    def _flr(self) -> None:
        self.log.event("reset", how="flr")
        self.power_up()

    def _power(self, on: bool) -> None:
        """The SMU switched the NPU. A power cycle also frees a PSP that a rule left busy (an assumption)."""
        self.firmware.stop()
        self._psp.power_up()

    def _interrupt(self, vector: int) -> None:
        if self._bus is None or not self._bus.irqs.trigger(Irq.MSIX, vector):
            self.log.event("irq-lost", vector=vector)

    def speak(self, protocol: Protocol | None) -> None:
        """From now on firmware speaks this version; None: what the command line says. Meant for when it is down."""
        self._board.protocol = protocol or self.settings.protocol or self.settings.generation.protocol

    def state(self) -> dict[str, Any]:
        """For the control socket."""
        management = self.firmware.management
        return {
            "npu": self.settings.generation.name,
            "address_mode": self.settings.address_mode,
            "connected": self._bus is not None,
            "dma_windows": len(self._bus.memory) if self._bus else 0,
            "device_table": self.iommu.base,
            "power": {"on": self._smu.powered, **self._smu.settings},
            "firmware": {
                "alive": self.firmware.alive,
                "suspended": management.suspended,
                "async_events": management.registered,
                "runtime_config": management.settings,
            },
            "contexts": [context.state() for context in management.contexts.values()],
            "rules": len(self.script.rules),
            "faults": self.log.faults,
            "entries": len(self.log.entries),
        }

    def close(self) -> None:
        self._sram.close()
