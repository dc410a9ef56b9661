# SPDX-License-Identifier: GPL-2.0-only
"""VERSION: what is agreed, what is refused."""

from __future__ import annotations

import errno
import json
import struct

import pytest

from harness.vfio_user import wire
from harness.vfio_user.wire import Refused


def version(major: int, minor: int, data: bytes = b"") -> bytes:
    return struct.pack("<HH", major, minor) + data


def test_the_answer_ends_in_nul_and_qemu_accepts_its_figures() -> None:
    answer = wire.negotiate(version(0, 1, b'{"capabilities": {"max_msg_fds": 8}}\0'))
    assert answer[-1] == 0
    capabilities = json.loads(answer[4:-1])["capabilities"]
    assert capabilities["max_msg_fds"] <= 16
    assert capabilities["max_data_xfer_size"] == 1 << 20
    assert not {"write_multiple", "twin_socket", "migration"} & capabilities.keys()


@pytest.mark.parametrize(("proposed", "agreed"), [(0, 0), (1, 1), (7, 1)])
def test_the_minor_version_is_not_above_the_proposed_one(proposed: int, agreed: int) -> None:
    assert struct.unpack_from("<HH", wire.negotiate(version(0, proposed))) == (0, agreed)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\0\0",
        version(1, 0),
        version(0, 1, b'{"capabilities": {}}'),
        version(0, 1, b'{"capabilities": {}} '),
        version(0, 1, b"{not json\0"),
        version(0, 1, b"\xff\xfe\0"),
        version(0, 1, b"[]\0"),
        version(0, 1, b'{"capabilities": []}\0'),
    ],
)
def test_a_wrong_version_request_is_refused(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        wire.negotiate(body)
    assert refused.value.code == errno.EINVAL
