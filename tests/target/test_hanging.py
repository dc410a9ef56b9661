# SPDX-License-Identifier: GPL-2.0-only
"""A command hangs and its context is set up again: every message of that is refused, answered wrongly, late and never.
Nothing stays behind, and a new context works (harness/guest/spoiled.py).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.guest.scenario import Hanging
from harness.guest.spoiled import WAYS

pytestmark = [pytest.mark.enumeration, pytest.mark.fw, pytest.mark.generations("npu4", "npu5", "npu6")]
PARTS = 2
"""A hang is seen after 2 to 4 s, an answer waited for 5 s: more for all messages than a test may take."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("part", range(PARTS))
def test_l14_hang(spoil: Callable[..., None], way: str, part: int) -> None:
    """L14: the recovery from a command that hangs.  Source: aie2_ctx.c, aie2_sched_job_timedout()."""
    spoil(Hanging, way, part=part, parts=PARTS)
