# SPDX-License-Identifier: GPL-2.0-only
"""How fast the harness is, against the raw commands and against virtme-ng, in one run on one machine."""
