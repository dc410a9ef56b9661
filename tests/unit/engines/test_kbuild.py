# SPDX-License-Identifier: GPL-2.0-only
"""What a stranger's tree can make of a build's products."""

from __future__ import annotations

import pytest

from harness.engines.kbuild import is_release

LOCAL = "-xdna-0123456789abcdef"


@pytest.mark.parametrize("begin", ["7.3.4", "7.3.0-rc1", "7.3.0-rc1+", "7.3~rc1-next_20260101"])
def test_releases_that_kernels_have(begin: str) -> None:
    assert is_release(begin + LOCAL, LOCAL)


@pytest.mark.parametrize(
    "begin", ["7.3\x1b[31m", "7.3\n", "7.3 ", "7.3\u202e", "7.3/..", "7.3'", "7.3\u00e4", "7" * 60]
)
def test_a_release_that_is_none(begin: str) -> None:
    assert not is_release(begin + LOCAL, LOCAL)
    assert not is_release("7.3.4", LOCAL)
