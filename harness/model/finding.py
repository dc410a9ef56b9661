# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel complained about, and what the counters around a test say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.model.frame import Frame, Place


class Kind(StrEnum):
    """Which detector spoke. The names go into fingerprints and so into lists of known failures: never
    rename."""

    KASAN = "KASAN"
    KFENCE = "KFENCE"
    KCSAN = "KCSAN"
    KMEMLEAK = "KMEMLEAK"
    UBSAN = "UBSAN"
    LOCKDEP = "LOCKDEP"
    REFCOUNT = "REFCOUNT"
    SLAB = "SLAB"
    WARNING = "WARNING"
    BUG = "BUG"
    OOPS = "OOPS"
    PANIC = "PANIC"
    HUNG_TASK = "HUNG_TASK"
    RCU_STALL = "RCU_STALL"
    LOCKUP = "LOCKUP"
    IOMMU = "IOMMU"
    DMA_API = "DMA_API"
    DRM_MM = "DRM_MM"
    LEAK = "LEAK"


@dataclass(frozen=True)
class Finding:
    """One splat.

    ``title`` is one line for a table. ``fingerprint`` is the kind and the first function names of the stack
    without addresses and offsets ("KASAN:aie2_hwctx_fini:amdxdna_hwctx_destroy_rcu"), the same in every
    boot. ``text`` is the whole splat, ``frames`` the function names it was made from and those below,
    innermost first. ``count`` says how often the same one came. ``lines``: the frames of all stacks in ``text``, in its
    order, with the lines of the source that they stand for (inlined functions first; none where that is not known).
    """

    kind: Kind
    title: str
    fingerprint: str
    text: str
    frames: tuple[str, ...] = ()
    count: int = 1
    lines: tuple[tuple[Frame, tuple[Place, ...]], ...] = ()
