# SPDX-License-Identifier: GPL-2.0-only
"""Where lasting things are: not in the cache, which is deleted, nor in a tree of the user's, which stays as it is."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path:
    """``$XDG_STATE_HOME/xdna-harness``, or what stands for it."""
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (state if state.is_absolute() else Path.home() / ".local/state") / "xdna-harness"
