# SPDX-License-Identifier: GPL-2.0-only
"""The platform security processor: validates, starts and stops the firmware (driver: aie_psp.c).

The driver waits for the ready bit, writes command and arguments, then 0 and 1 to the interrupt register,
waits for the ready bit again (1 s) and reads the response; 0 is success. Addresses are physical, past the
IOMMU.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.npu.board import Board
from harness.npu.codes import PSP_ERROR_BAD_STATE, PSP_ERROR_CANCEL, PSP_READY, PspCommand
from harness.npu.script import Occurrence


class Psp:
    """``on_start`` and ``on_stop`` boot and stop the firmware.

    That START needs a VALIDATE before it, and answers BAD_STATE without, is an assumption: the driver only
    names the code.
    """

    def __init__(self, board: Board, on_start: Callable[[], None], on_stop: Callable[[], None]) -> None:
        self._registers = board.registers
        self._places = places = board.generation.psp
        self._log = board.log
        self._script = board.script
        self._on_start = on_start
        self._on_stop = on_stop
        self._validated = False
        self._commands: dict[int, Callable[[], int]] = {
            PspCommand.VALIDATE: self._validate,
            PspCommand.START: self._start,
            PspCommand.RELEASE_TMR: self._release,
        }
        self._arguments = (places.argument0, places.argument1, places.argument2)
        for place in (*self._arguments, places.command, places.status, places.response, places.wait_mode):
            board.registers.define(place)
        board.registers.define(places.interrupt, self._interrupt)

    def power_up(self) -> None:
        """Ready, and nothing validated."""
        self._validated = False
        self._registers.set(self._places.status, PSP_READY)

    def _interrupt(self, value: int) -> None:
        if value == 0:
            return
        command = self._registers.get(self._places.command)
        arguments = [self._registers.get(place) for place in self._arguments]
        rule = self._script.find(Occurrence("psp", command))
        if rule and rule.drop:
            self._log.event("psp", command=_name(command), arguments=arguments, action="dropped")
            return
        call = self._commands.get(command)
        if call is None:
            self._log.fault(f"unknown PSP command {command:#x}")
            response = PSP_ERROR_CANCEL
        elif rule and rule.status:
            response = rule.status
        else:
            response = call()
        self._log.event("psp", command=_name(command), arguments=arguments, status=response, action="answered")
        self._registers.set(self._places.status, command | PSP_READY)
        self._registers.set(self._places.response, response)

    def _validate(self) -> int:
        self._validated = True
        return 0

    def _start(self) -> int:
        if not self._validated:
            return PSP_ERROR_BAD_STATE
        self._on_start()
        return 0

    def _release(self) -> int:
        self._validated = False
        self._on_stop()
        return 0


def _name(command: int) -> str:
    return PspCommand(command).name if command in PspCommand.__members__.values() else f"{command:#x}"
