# SPDX-License-Identifier: GPL-2.0-only
"""How fast the harness is, as ratios against the raw commands in the same run: ``python -m benchmarks``."""
