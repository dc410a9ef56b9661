# SPDX-License-Identifier: GPL-2.0-only
"""The system management unit: power and clocks (driver: aie_smu.c).

The driver writes 0 to the response, then argument and command, then 0 and 1 to the interrupt register, and
polls the response for up to 1 s; 1 is success.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.npu.board import Board
from harness.npu.codes import SMU_OK, SMU_UNKNOWN_COMMAND, SmuCommand
from harness.npu.script import Occurrence


class Smu:
    """``settings`` holds the last argument of each clock command; ``on_power`` hears of power on and off."""

    def __init__(self, board: Board, on_power: Callable[[bool], None]) -> None:
        self._registers = board.registers
        self._places = places = board.generation.smu
        self._log = board.log
        self._script = board.script
        self._on_power = on_power
        self.powered = False
        self.settings: dict[str, int] = {}
        for place in (places.command, places.argument, places.response, places.output):
            board.registers.define(place)
        board.registers.define(places.interrupt, self._interrupt)

    def power_up(self) -> None:
        self.powered = False
        self.settings.clear()

    def _interrupt(self, value: int) -> None:
        if value == 0:
            return
        command = self._registers.get(self._places.command)
        argument = self._registers.get(self._places.argument)
        rule = self._script.find(Occurrence("smu", command))
        if rule and rule.drop:
            self._log.event("smu", command=_name(command), argument=argument, action="dropped")
            return
        if command not in SmuCommand.__members__.values():
            self._log.fault(f"unknown SMU command {command:#x}")
            response = SMU_UNKNOWN_COMMAND
        elif rule and rule.status is not None:
            response = rule.status
        else:
            self._perform(SmuCommand(command), argument)
            response = SMU_OK
        self._log.event("smu", command=_name(command), argument=argument, status=response, action="answered")
        self._registers.set(self._places.output, argument)
        self._registers.set(self._places.response, response)

    def _perform(self, command: SmuCommand, argument: int) -> None:
        if command in (SmuCommand.POWER_ON, SmuCommand.POWER_OFF):
            self.powered = command is SmuCommand.POWER_ON
            self._on_power(self.powered)
        else:
            self.settings[command.name] = argument


def _name(command: int) -> str:
    return SmuCommand(command).name if command in SmuCommand.__members__.values() else f"{command:#x}"
