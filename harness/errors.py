# SPDX-License-Identifier: GPL-2.0-only
"""Errors, by who must act.

    HarnessError
    ├── PatchError    the series' author: damaged, does not build, does not boot where base boots   exit 1
    ├── UsageError    the person at the keyboard: wrong argument, wrong base, wrong file            exit 2
    └── InfraError    the lab, or nobody knows: network, disk, QEMU, NPU process, a missing tool    exit 3

Anything else that reaches the command line is our own bug: a traceback and exit code 70.
"""

from __future__ import annotations

from pathlib import Path


class HarnessError(Exception):
    """An expected failure: says what happened, to what, and what to do next.

    ``message`` and ``hint`` are one line each; ``log`` names the file that holds the whole story.
    """

    exit_code = 70

    def __init__(self, message: str, *, hint: str = "", log: Path | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.log = log

    def lines(self) -> list[str]:
        """What a person is shown: the message, then what to do and where the log is."""
        todo = "; ".join(part for part in (self.hint, f"log: {self.log}" if self.log else "") if part)
        return [self.message, todo] if todo else [self.message]


class PatchError(HarnessError):
    """The author of the series must act."""

    exit_code = 1


class UsageError(HarnessError):
    """The person at the keyboard must act."""

    exit_code = 2


class InfraError(HarnessError):
    """The lab must act, or nobody knows. ``transient`` ones are worth one more try."""

    exit_code = 3

    def __init__(self, message: str, *, hint: str = "", log: Path | None = None, transient: bool = False) -> None:
        super().__init__(message, hint=hint, log=log)
        self.transient = transient
