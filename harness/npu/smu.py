# SPDX-License-Identifier: GPL-2.0-only
"""The system management unit: power and clocks (driver: aie_smu.c).

The driver writes 0 to the response, then argument and command, then 0 and 1 to the interrupt register, and polls the
response for up to 1 s; 1 is success.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING

from harness.npu.events import EventLog
from harness.npu.generations import SmuRegisters
from harness.npu.registers import Registers

if TYPE_CHECKING:
    from harness.npu.script import Script

OK = 1
UNKNOWN_COMMAND = 0xFE


class SmuCommand(IntEnum):
    """aie_smu.c. Clocks are in MHz, DPM levels count from 0."""

    POWER_ON = 3
    POWER_OFF = 4
    SET_MPNPUCLK = 5
    SET_HCLK = 6
    SET_SOFT_DPM = 7
    SET_HARD_DPM = 8


class Smu:
    """``settings`` holds the last argument of each command; ``on_power_off`` stops the firmware."""

    def __init__(
        self, registers: Registers, places: SmuRegisters, log: EventLog, on_power_off: Callable[[], None]
    ) -> None:
        self._registers = registers
        self._places = places
        self._log = log
        self._on_power_off = on_power_off
        self.script: Script | None = None
        self.powered = False
        self.settings: dict[str, int] = {}
        for place in (places.command, places.argument, places.response, places.output):
            registers.define(place)
        registers.define(places.interrupt, self._interrupt)

    def power_up(self) -> None:
        self.powered = False
        self.settings.clear()

    def _interrupt(self, value: int) -> None:
        if value == 0:
            return
        from harness.npu.script import Occurrence

        command = self._registers.get(self._places.command)
        argument = self._registers.get(self._places.argument)
        rule = self.script.find(Occurrence("smu", command)) if self.script else None
        if rule and rule.drop:
            self._log.event("smu", command=_name(command), argument=argument, action="dropped")
            return
        if command not in SmuCommand.__members__.values():
            self._log.fault(f"unknown SMU command {command:#x}")
            response = UNKNOWN_COMMAND
        elif rule and rule.status is not None:
            response = rule.status
        else:
            self._perform(SmuCommand(command), argument)
            response = OK
        self._log.event("smu", command=_name(command), argument=argument, status=response, action="answered")
        self._registers.set(self._places.output, argument)
        self._registers.set(self._places.response, response)

    def _perform(self, command: SmuCommand, argument: int) -> None:
        if command is SmuCommand.POWER_ON:
            self.powered = True
        elif command is SmuCommand.POWER_OFF:
            self.powered = False
            self._on_power_off()
        else:
            self.settings[command.name] = argument


def _name(command: int) -> str:
    return SmuCommand(command).name if command in SmuCommand.__members__.values() else f"{command:#x}"
