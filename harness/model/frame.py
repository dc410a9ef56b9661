# SPDX-License-Identifier: GPL-2.0-only
"""A frame of a kernel stack, and the lines of the source that it stands for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Frame:
    """``function+0xoffset/0xsize [module]`` as the kernel prints it (kernel/kallsyms.c, sprint_symbol()).

    ``function`` as in the symbol table (``x.isra.0``); ``size`` reaches up to the next symbol, so padding counts.
    ``module`` is "" for the kernel itself. ``exact``: the instruction itself, as in a line "RIP:"; else the address to
    which a call returns, which is behind the call.
    """

    function: str
    offset: int
    size: int
    module: str = ""
    exact: bool = False

    @property
    def at(self) -> int:
        """An offset within the instruction that is meant; negative when that is in the function before."""
        return self.offset if self.exact else self.offset - 1

    def __str__(self) -> str:
        text = f"{self.function}+{self.offset:#x}/{self.size:#x}"
        return f"{text} [{self.module}]" if self.module else text


@dataclass(frozen=True)
class Place:
    """A line of the source: ``file`` relative to the kernel's tree, and the function that it is in."""

    function: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"
