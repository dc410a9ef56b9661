# SPDX-License-Identifier: GPL-2.0-only
"""The firmware's messages as bytes (drivers/accel/amdxdna/aie2_msg_priv.h, Linux 7.3; little endian,
packed).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.npu.codes import Opcode

MGMT, CONTEXT = "mgmt", "ctx"


@dataclass(frozen=True)
class Message:
    """One opcode: who sends it on which kind of channel, its request and its answer.

    ``fields`` are (name, struct format) pairs, a format with a count ("32I") makes a list, "x" formats are
    skipped. ``answer`` is the format of the answer; its ``status_at``-th value is the status. ``longer``
    allows a request with more bytes than the fields have: the driver sends all chains in a union of the
    longest. ``answered`` is false for what is answered only when something happens.
    """

    opcode: Opcode
    channel: str
    fields: tuple[tuple[str, str], ...]
    answer: str = "I"
    status_at: int = 0
    longer: bool = False
    answered: bool = True

    @property
    def name(self) -> str:
        return self.opcode.name

    @cached_property
    def _request(self) -> struct.Struct:
        return struct.Struct("<" + "".join(form for _, form in self.fields))

    @cached_property
    def _answer(self) -> struct.Struct:
        return struct.Struct("<" + self.answer)

    @cached_property
    def _zeros(self) -> tuple[int, ...]:
        return self._answer.unpack(bytes(self._answer.size))

    def size_fits(self, size: int) -> bool:
        """Whether a request may have this size."""
        return size == self._request.size or (self.longer and size > self._request.size)

    def decode(self, payload: bytes) -> dict[str, Any]:
        """The request's fields by name. The size must fit."""
        values = iter(self._request.unpack_from(payload))
        decoded: dict[str, Any] = {}
        for name, form in self.fields:
            if form.endswith("x"):
                continue
            count = int(form[:-1] or 1)
            decoded[name] = next(values) if form[:-1] == "" else [next(values) for _ in range(count)]
        return decoded

    def pack(self, status: int, values: Sequence[int] = ()) -> bytes:
        """The answer with ``status`` and the other ``values`` in their order, zeros for those that are
        missing.
        """
        rest = [*values, *self._zeros[len(values) + 1 :]]
        rest.insert(self.status_at, status)
        return self._answer.pack(*rest)

    def refusal(self, status: int) -> bytes:
        """The answer of a firmware that refuses: that of a chain says which slot it refuses (the first), and why."""
        return self.pack(status, (0, status) if self.opcode in EXECUTIONS and self.answer == "III" else ())

    def garbage(self, status: int) -> bytes:
        """An answer of the right size with ``status`` and nothing else that could be meant; without anything else, no
        status that exists.
        """
        values = list(self._answer.unpack(bytes([GARBAGE]) * self._answer.size))
        if len(values) > 1:
            values[self.status_at] = status
        return self._answer.pack(*values)


_HOST_BUFFER = (("context_id", "I"), ("buf_addr", "Q"), ("buf_size", "Q"))
_CHAIN = (("buf_addr", "Q"), ("buf_size", "I"), ("count", "I"))
_QUEUE_PAIR = 8
"""Words of one struct cq_pair; an answer to CREATE_CONTEXT has two."""
GARBAGE = 0xA5
"""The byte that garbage is made of."""

MESSAGES = {
    int(m.opcode): m
    for m in (
        Message(
            Opcode.CREATE_CONTEXT,
            MGMT,
            (
                ("aie_type", "I"),
                ("start_col", "B"),
                ("num_col", "B"),
                ("num_unused_col", "B"),
                ("", "1x"),
                ("num_cq_pairs", "B"),
                ("", "1x"),
                ("pasid", "H"),
                ("", "8x"),
                ("sec_comm_target_type", "I"),
                ("priority", "I"),
            ),
            answer=f"IIHBB{2 * _QUEUE_PAIR}I",
        ),
        Message(Opcode.DESTROY_CONTEXT, MGMT, (("context_id", "I"),)),
        Message(
            Opcode.GET_TELEMETRY,
            MGMT,
            (("type", "I"), ("buf_addr", "Q"), ("buf_size", "I")),
            answer="IIII",
            status_at=3,
        ),
        Message(
            Opcode.QUERY_COL_STATUS,
            MGMT,
            (("buf_addr", "Q"), ("buf_size", "I"), ("num_cols", "I"), ("aie_bitmap", "I")),
            answer="II",
        ),
        Message(Opcode.QUERY_AIE_TILE_INFO, MGMT, (("reserved", "I"),), answer="II20H"),
        Message(Opcode.QUERY_AIE_VERSION, MGMT, (("reserved", "I"),), answer="IHH"),
        Message(Opcode.SUSPEND, MGMT, (("reserved", "I"),)),
        Message(Opcode.RESUME, MGMT, (("reserved", "I"),)),
        Message(Opcode.ASSIGN_MGMT_PASID, MGMT, (("pasid", "H"), ("", "2x"))),
        Message(Opcode.MAP_HOST_BUFFER, MGMT, _HOST_BUFFER),
        Message(Opcode.ADD_HOST_BUFFER, MGMT, _HOST_BUFFER),
        Message(Opcode.GET_FIRMWARE_VERSION, MGMT, (("reserved", "I"),), answer="5I"),
        Message(Opcode.SET_RUNTIME_CONFIG, MGMT, (("type", "I"), ("value", "Q"))),
        Message(Opcode.GET_RUNTIME_CONFIG, MGMT, (("type", "I"),), answer="IQ"),
        Message(
            Opcode.REGISTER_ASYNC_EVENT,
            MGMT,
            (("buf_addr", "Q"), ("buf_size", "I")),
            answer="II",
            answered=False,
        ),
        Message(
            Opcode.UPDATE_PROPERTY,
            MGMT,
            (("type", "I"), ("context_id", "B"), ("", "7x"), ("time_quota_us", "I"), ("", "4x")),
        ),
        Message(
            Opcode.GET_APP_HEALTH,
            MGMT,
            (("context_id", "I"), ("buf_size", "I"), ("buf_addr", "Q")),
            answer="9I",
        ),
        Message(Opcode.GET_DEV_REVISION, MGMT, (("reserved", "I"),), answer="III"),
        Message(Opcode.GET_PROTOCOL_VERSION, MGMT, (("reserved", "I"),), answer="III"),
        Message(Opcode.SYNC_BO, CONTEXT, (("src_addr", "Q"), ("dst_addr", "Q"), ("size", "I"), ("type", "I"))),
        Message(Opcode.EXECUTE_BUFFER_CF, CONTEXT, (("cu_idx", "I"), ("payload", "19I"))),
        Message(
            Opcode.EXEC_DPU,
            CONTEXT,
            (
                ("inst_buf_addr", "Q"),
                ("inst_size", "I"),
                ("inst_prop_cnt", "I"),
                ("cu_idx", "I"),
                ("payload", "35I"),
            ),
        ),
        Message(Opcode.CONFIG_CU, CONTEXT, (("num_cus", "I"), ("cfgs", "32I"))),
        Message(Opcode.CHAIN_EXEC_BUFFER_CF, CONTEXT, _CHAIN, answer="III", longer=True),
        Message(Opcode.CHAIN_EXEC_DPU, CONTEXT, _CHAIN, answer="III", longer=True),
        Message(Opcode.CONFIG_DEBUG_BO, CONTEXT, (("offset", "Q"), ("size", "Q"), ("config", "I"))),
        Message(Opcode.CHAIN_EXEC_NPU, CONTEXT, (("flags", "I"), ("", "4x"), *_CHAIN), answer="III"),
    )
}

EXECUTIONS = frozenset(
    {
        Opcode.EXECUTE_BUFFER_CF,
        Opcode.EXEC_DPU,
        Opcode.CHAIN_EXEC_BUFFER_CF,
        Opcode.CHAIN_EXEC_DPU,
        Opcode.CHAIN_EXEC_NPU,
    }
)
"""Opcodes of commands: a dropped one hangs its context."""
