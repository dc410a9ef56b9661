# SPDX-License-Identifier: GPL-2.0-only
"""Where the fields lie (facts from the C compiler; the sizes are checked at import)."""

from __future__ import annotations

import ctypes

import pytest

from harness.drm import structs


@pytest.mark.parametrize(
    ("kind", "field", "offset"),
    [
        (structs.HwctxEntry, "pid", 16),
        (structs.HwctxEntry, "heap_usage", 72),
        (structs.CreateHwctx, "handle", 48),
        (structs.CreateBo, "handle", 28),
        (structs.GetBoInfo, "xdna_addr", 40),
        (structs.ExecCmd, "seq", 48),
        (structs.SyncobjTimelineWait, "flags", 28),
    ],
)
def test_offsets(kind: type[ctypes.Structure], field: str, offset: int) -> None:
    assert getattr(kind, field).offset == offset


def test_every_structure_has_a_known_size() -> None:
    kinds = {k for k in vars(structs).values() if isinstance(k, type) and issubclass(k, ctypes.Structure)}
    assert kinds == set(structs.SIZES)
