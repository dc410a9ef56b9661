# SPDX-License-Identifier: GPL-2.0-only
"""Every message that a call sends to firmware is refused, answered wrongly, late and never: the call says so, nothing
stays behind, and the next one works (harness/guest/spoiled.py).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.guest.scenario import (
    Attaching,
    Closing,
    Configuring,
    Contexts,
    Destroying,
    Detaching,
    ExpandedContext,
    Expanding,
    Running,
    Scenario,
    Status,
    Switching,
    Syncing,
    Telemetry,
)
from harness.guest.spoiled import WAYS

pytestmark = [pytest.mark.enumeration, pytest.mark.fw]
EXPANDING = pytest.mark.generations("npu4", "npu5", "npu6")
each_way = pytest.mark.parametrize("way", WAYS)
Spoil = Callable[..., None]

KNOWN = tuple(f"CONFIG_CU-{way}" for way in ("refused", "size", "id", "never"))
"""Places that 7.3 does not tell of: asked by a test each, which jobs/known.toml names, so that they hide no other."""


@EXPANDING
@each_way
def test_o22_create_hwctx(spoil: Spoil, way: str) -> None:
    """O22: a context on an expanded heap.  Source: aie2_ctx.c, aie2_hwctx_init()."""
    spoil(ExpandedContext, way)


@EXPANDING
@each_way
def test_o20_expanding_dev_bo(spoil: Spoil, way: str) -> None:
    """O20: a DEV BO that expands the heap.  Source: amdxdna_ctx.c, amdxdna_hwctx_expand_heap()."""
    spoil(Expanding, way)


@pytest.mark.parametrize("way", [way for way in WAYS if f"CONFIG_CU-{way}" not in KNOWN])
def test_o25_config_cu(spoil: Spoil, way: str) -> None:
    """O25: CONFIG_CU.  Source: aie2_ctx.c, aie2_hwctx_cu_config()."""
    spoil(Configuring, way)


@each_way
def test_o25_exec_cmd(spoil: Spoil, way: str) -> None:
    """O25: a command.  Source: aie2_ctx.c, aie2_sched_cmdlist_resp_handler(), aie2_sched_job_timedout()."""
    spoil(Running, way)


@each_way
@pytest.mark.parametrize("kind", [Destroying, Closing], ids=["ioctl", "close"])
def test_l05_destroy_hwctx(spoil: Spoil, kind: type[Scenario], way: str) -> None:
    """L05: the end of a context.  Source: aie2_message.c, aie2_destroy_context()."""
    spoil(kind, way)


@each_way
@pytest.mark.modes("sva", "force-iova")  # SYNC_BO refuses carveout memory
@pytest.mark.mode
@pytest.mark.parametrize("kind", [Attaching, Syncing, Detaching], ids=["attach", "sync", "detach"])
def test_l19_debug_buffer(spoil: Spoil, kind: type[Scenario], way: str) -> None:
    """L19: CONFIG_DEBUG_BO and SYNC_BO.  Source: aie2_ctx.c, aie2_sched_drvcmd_resp_handler()."""
    spoil(kind, way)


@each_way
def test_o26_set_state(spoil: Spoil, way: str) -> None:
    """O26: SET_STATE.  Source: aie2_pci.c, aie2_set_preempt_state()."""
    spoil(Switching, way)


@each_way
@pytest.mark.parametrize("kind", [Status, Telemetry, Contexts], ids=["columns", "telemetry", "contexts"])
def test_o26_query(spoil: Spoil, kind: type[Scenario], way: str) -> None:
    """O26: GET_INFO and GET_ARRAY.  Source: aie2_pci.c, aie2_get_info(), aie2_get_array()."""
    spoil(kind, way)


@pytest.mark.parametrize("place", KNOWN)
def test_o25_known(spoil: Spoil, place: str) -> None:
    """O25, one place: nobody looks at the answer.  Source: aie2_ctx.c, aie2_config_cu_resp_handler()."""
    spoil(Configuring, place.partition("-")[2], only={place})
