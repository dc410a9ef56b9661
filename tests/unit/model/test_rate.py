# SPDX-License-Identifier: GPL-2.0-only
"""The interval against published values, and where it matters most: when nothing happened."""

from __future__ import annotations

import pytest

from harness.model.rate import Rate


@pytest.mark.parametrize(
    ("times", "trials", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998), table I, method 3 (Wilson's score).
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_published_values(times: int, trials: int, low: float, high: float) -> None:
    assert Rate(times, trials).interval() == pytest.approx((low, high), abs=5e-5)


def test_all_and_none() -> None:
    assert Rate(0, 0).interval() == (0.0, 1.0)
    assert Rate(20, 20).interval() == pytest.approx((1 - 0.1611, 1.0), abs=5e-5)
    assert str(Rate(0, 0)) == "0 of 0"
    assert str(Rate(0, 100)) == "0 of 100 (0 %; 95 %: 0 to 3.7)"
    assert str(Rate(47, 50)) == "47 of 50 (94 %; 95 %: 83.8 to 97.9)"
