# SPDX-License-Identifier: GPL-2.0-only
"""The folder that a verb fills: the option that names it, and who must act when it is filled half."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from harness.errors import InfraError


class Folder(click.Path):
    """A folder that is there, or can be made."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(super().convert(value, param, ctx))  # type: ignore[arg-type]  # typeshed says str
        nearest = next(place for place in (path, *path.absolute().parents) if os.path.lexists(place))
        if not nearest.is_dir():
            self.fail(f"{str(path)!r} cannot be a folder: {str(nearest)!r} is none.", param, ctx)
        if not os.access(nearest, os.W_OK | os.X_OK):
            self.fail(f"{str(path)!r} cannot be filled: {str(nearest)!r} is not yours to write to.", param, ctx)
        return path


def out_option(about: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--out DIR``, whose help is ``about``."""
    return click.option("--out", metavar="DIR", type=Folder(), help=about)


@contextmanager
def filling(folder: Path) -> Iterator[None]:
    """A process of the lab that goes away meanwhile is the lab's to mend. (click takes a BrokenPipeError for a closed
    terminal, and exits with 1, which here would blame the patch.)"""
    try:
        yield
    except BrokenPipeError as error:
        raise InfraError("a process of the lab went away", hint=f"what happened so far is in {folder}") from error
