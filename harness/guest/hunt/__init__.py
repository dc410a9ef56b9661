# SPDX-License-Identifier: GPL-2.0-only
"""A script of steps (harness/model/script.py), done on the device one after the other.

world.py   what the walk holds: files, buffers, contexts, dma-bufs
steps.py   what each step does, and what must be there for it; with buffers.py and commands.py
oracle.py  what must hold whatever was done
walk.py    doing a script: allocations that fail, steps at the same time; all is given back at the end
"""
