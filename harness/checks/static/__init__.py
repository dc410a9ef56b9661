# SPDX-License-Identifier: GPL-2.0-only
"""Static checks: what can be said about a patch without running it. A further check is a file here and a name below."""

from __future__ import annotations

from harness.checks.static.check import Check, ask, lacking, version
from harness.checks.static.checkpatch import Checkpatch
from harness.checks.static.coccinelle import Coccinelle
from harness.checks.static.compilers import CLANG_W1, GCC, SMATCH, SPARSE
from harness.checks.static.kernel_doc import KernelDoc
from harness.checks.static.uapi import Uapi

CHECKS: tuple[Check, ...] = (Checkpatch(), GCC, CLANG_W1, SPARSE, Coccinelle(), KernelDoc(), Uapi(), SMATCH)

__all__ = ["CHECKS", "Check", "ask", "lacking", "version"]
