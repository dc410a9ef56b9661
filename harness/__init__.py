# SPDX-License-Identifier: GPL-2.0-only
"""xdna-harness: does a kernel patch series make the AMD NPU driver worse, and which patch did it?"""
