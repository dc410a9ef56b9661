# SPDX-License-Identifier: GPL-2.0-only
"""Pictures as SVG, made here: marks only. Words stand beside them as text, so that they have a size on a phone, too."""
