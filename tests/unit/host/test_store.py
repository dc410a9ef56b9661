# SPDX-License-Identifier: GPL-2.0-only
"""The cache gives up what nobody used for longest."""

from __future__ import annotations

import os
from pathlib import Path

from harness.host.store import Store


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fill(folder: Path) -> None:
        (folder / "data").write_bytes(b"x" * 100_000)

    for age, key in enumerate(("newest", "middle", "oldest")):
        entry = store.get("guests", key, fill)
        os.utime(entry, (1000 - age, 1000 - age))
    assert store.trim("guests", 250_000) == 1
    assert {key for key in ("newest", "middle", "oldest") if store.has("guests", key)} == {"newest", "middle"}
    assert store.trim("guests", 250_000) == 0
