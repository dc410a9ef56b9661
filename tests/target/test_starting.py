# SPDX-License-Identifier: GPL-2.0-only
"""Firmware starts, sets its contexts up again and is suspended: every message of it is refused, answered wrongly, late
and never. The use that woke the device says so, nothing stays behind, the next start works (harness/guest/spoiled.py).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.guest.scenario import Resuming, ResumingAgain, Starting, Suspending
from harness.guest.spoiled import WAYS

pytestmark = [pytest.mark.enumeration, pytest.mark.fw]
EXPANDING = pytest.mark.generations("npu4", "npu5", "npu6")
Spoil = Callable[..., None]
PARTS = 3
"""A start sends many messages, and waiting 5 s for each takes longer than a test may."""

KNOWN = tuple(f"CONFIG_CU-{way}" for way in ("refused", "size", "id", "never"))
"""Places of a resume that 7.3 does not tell of: asked by a test each, which jobs/known.toml names, so that they hide no
other."""
EVENT = "REGISTER_ASYNC_EVENT-id"
"""Stops the channel while more such messages are sent: asked alone."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("part", range(PARTS))
def test_o27_start(spoil: Spoil, way: str, part: int) -> None:
    """O27: firmware is started.  Source: aie2_pci.c, aie2_hw_start()."""
    spoil(Starting, way, {EVENT}, part=part, parts=PARTS)


@EXPANDING
@pytest.mark.parametrize("way", WAYS)
def test_o27_resume(spoil: Spoil, way: str) -> None:
    """O27: a context on an expanded heap is set up again.  Source: aie2_ctx.c, aie2_hwctx_restart()."""
    spoil(Resuming, way, KNOWN)


@pytest.mark.parametrize("way", WAYS)
def test_o27_suspend(spoil: Spoil, way: str) -> None:
    """O27: the idle device is suspended.  Source: aie2_pci.c, aie2_hw_stop()."""
    spoil(Suspending, way)


def test_o27_async_event(spoil: Spoil) -> None:
    """O27: a later one of the messages that ask for asynchronous errors cannot be sent. 7.3 frees what the earlier ones
    point to.

    Source: aie2_error.c, aie2_error_async_events_alloc().
    """
    spoil(Starting, "id", only={EVENT})


@EXPANDING
@pytest.mark.parametrize("place", KNOWN)
def test_o27_known(spoil: Spoil, place: str) -> None:
    """O27, one place: nobody looks at the answer.  Source: aie2_message.c, aie2_config_cu()."""
    spoil(Resuming, place.partition("-")[2], only={place})


@pytest.mark.spoils
@EXPANDING
def test_o27_resume_again(spoil: Spoil) -> None:
    """O27: the second resume of the same context. 7.3 creates it once more and loses its interrupt for good: no context
    works in this guest any more, so this is the last test.

    Source: aie2_ctx.c, aie2_hwctx_restart().
    """
    spoil(
        ResumingAgain, "refused", only={"CREATE_CONTEXT-refused", "MAP_HOST_BUFFER-refused", "ADD_HOST_BUFFER-refused"}
    )
