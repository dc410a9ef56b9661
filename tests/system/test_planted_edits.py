# SPDX-License-Identifier: GPL-2.0-only
"""Each planted edit fits the driver of the kernel that the score is for. Text only: nothing is built."""

from __future__ import annotations

import pytest

from harness.host.data import data_folder
from harness.knowledge import planted_bugs
from harness.model.planted import Planted
from harness.model.tree import Source


@pytest.mark.parametrize("bug", planted_bugs(data_folder("patches/planted")), ids=lambda bug: bug.id)
def test_fits_and_changes_the_text(source: Source, bug: Planted) -> None:
    """Raises DoesNotFit, which says what is missing."""
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    for edit in bug.edits.edits:
        before.setdefault(edit.file, (source.path / edit.file).read_text())
        after[edit.file] = edit.applied(after.get(edit.file, before[edit.file]))
    assert after != before
