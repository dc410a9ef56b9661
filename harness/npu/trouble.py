# SPDX-License-Identifier: GPL-2.0-only
"""Why the device cannot do what it was told: an event in the log and a status for the answer."""

from __future__ import annotations

from typing import Any

from harness.npu.codes import Status


class Trouble(Exception):
    """Base of all of them. ``event`` is its kind in the log, ``fields`` belong to it, the text says what
    happened.
    """

    event = "protocol-error"
    status: int = Status.INVALID_COMMAND

    def __init__(self, what: str, **fields: Any) -> None:
        super().__init__(what)
        self.what = what
        self.fields = fields


class ProtocolError(Trouble):
    """The driver sent what it should not: a wrong size, channel, id or order."""


class InvalidParameter(ProtocolError):
    """The driver asked for something that does not exist."""

    status = Status.MGMT_INVALID_PARAM


class HarnessFault(Trouble):
    """The harness left something out; the driver is not to blame."""

    event = "fault"
    status = Status.INVALID_OPERATION
