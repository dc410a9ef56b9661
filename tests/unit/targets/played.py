# SPDX-License-Identifier: GPL-2.0-only
"""Stand-ins that several tests of lab machines share."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from harness.errors import InfraError
from harness.formats.machine_facts import Facts
from harness.targets.ssh.heard import Heard
from harness.targets.ssh.session import SshSession


class Shell:
    """A machine that is this one."""

    name = "box"

    def do(self, what: str, script: str, seconds: float = 60.0, stdin: bytes = b"") -> str:
        done = subprocess.run(["sh", "-c", script], input=stdin, capture_output=True, check=False, timeout=seconds)
        if done.returncode != 0:
            raise InfraError(f"{what}: {done.stderr.decode()}")
        return done.stdout.decode()


def ended(facts: Facts, folder: Path, quiet_since: float | None, **more: Any) -> SshSession:
    """A session that has ended: until ``quiet_since`` its kernel's words are told; ``more`` as SshSession has it."""
    heard = Heard(whole_log=True)
    heard.quiet_since = quiet_since
    session = {"facts": facts, "folder": folder, "was_lost": False, "late": None, "heard": heard}
    session |= {"loaded": True, "unloading": False, "unloaded": True}
    return cast(SshSession, SimpleNamespace(**{**session, **more}))
