# SPDX-License-Identifier: GPL-2.0-only
"""What every block of the device is given."""

from __future__ import annotations

from dataclasses import dataclass

from harness.npu.events import EventLog
from harness.npu.generations import Generation, Protocol
from harness.npu.registers import Registers
from harness.npu.script import Script
from harness.vfio_user.loop import Loop


@dataclass
class Board:
    """The NPU that this is, the protocol version its firmware speaks, and what its blocks share.

    ``protocol`` may change between two starts of the firmware. ``latency`` is the time in seconds that the firmware
    takes to look at a message; 0: inside the doorbell write.
    """

    generation: Generation
    protocol: Protocol
    registers: Registers
    script: Script
    log: EventLog
    loop: Loop
    latency: float = 0.0
