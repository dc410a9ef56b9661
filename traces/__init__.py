# SPDX-License-Identifier: GPL-2.0-only
"""How tests/target/traces is made: small models, run on the CPU at several batch sizes, tensor by tensor."""
