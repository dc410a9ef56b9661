# SPDX-License-Identifier: GPL-2.0-only
"""How often something happens, as far as so many trials can tell. Pure.

The interval is Wilson's (E. B. Wilson, 1927; the "score" interval): it also says something when nothing, or everything,
happened.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

Z = 1.959964
"""Of the normal distribution, for 95 %."""


@dataclass(frozen=True)
class Rate:
    """``times`` of ``trials``."""

    times: int
    trials: int

    def interval(self) -> tuple[float, float]:
        """The true rate (0 to 1) lies between these with 95 % confidence; anywhere, without a trial."""
        if not self.trials:
            return 0.0, 1.0
        n, share, square = self.trials, self.times / self.trials, Z * Z
        middle = share + square / (2 * n)
        wide = Z * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
        whole = 1 + square / n
        low, high = (middle - wide) / whole, (middle + wide) / whole
        return (0.0 if not self.times else low), (1.0 if self.times == n else high)

    def __str__(self) -> str:
        """``2 of 50 (4 %; 95 %: 1.1 to 13.5)``."""
        if not self.trials:
            return "0 of 0"
        low, high = self.interval()
        share = 100 * self.times // self.trials
        return f"{self.times} of {self.trials} ({share} %; 95 %: {_percent(low)} to {_percent(high)})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}".removesuffix(".0")
