# SPDX-License-Identifier: GPL-2.0-only
"""How to reach a machine by ssh: what the user's own configuration says about it.

The file is ~/.ssh/config, or the one that XDNA_HARNESS_SSH_CONFIG names. It is not part of a job, which says which
machine and not how this user gets there. paramiko knows neither Include nor HostKeyAlias.
"""

from __future__ import annotations

import getpass
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko

from harness.errors import UsageError

CONFIG = "XDNA_HARNESS_SSH_CONFIG"
PORT = 22


@dataclass(frozen=True)
class Reach:
    """``name`` is what the user calls the machine; ``proxy`` a command whose standard streams lead to it; ``own_only``:
    no other keys than ``identities``."""

    name: str
    host: str
    port: int
    user: str
    identities: tuple[str, ...] = ()
    own_only: bool = False
    proxy: str = ""
    known_hosts: tuple[Path, ...] = ()


def reach(target: str, environ: Mapping[str, str] = os.environ) -> Reach:
    """The machine of ``[USER@]HOST``. UsageError: the configuration cannot be read."""
    named = environ.get(CONFIG, "")
    path = Path(named or "~/.ssh/config").expanduser()
    user, _, name = target.rpartition("@")
    try:
        config = paramiko.SSHConfig.from_path(str(path)) if named or path.exists() else paramiko.SSHConfig()
        return read(name, user, config.lookup(name), path)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint=f"{CONFIG} names it") from error
    except (paramiko.SSHException, ImportError, ValueError) as error:
        raise UsageError(f"{path}: {error}", hint=f"mend it, or name a simpler file in {CONFIG}") from error


def read(name: str, user: str, found: Mapping[str, Any], path: Path) -> Reach:
    """What ssh_config(5)'s words mean for us. Pure but for the names of the user and his home."""
    host, port = str(found.get("hostname", name)), int(found.get("port", PORT))
    user = user or str(found.get("user") or getpass.getuser())
    proxy = str(found.get("proxycommand") or "")
    if not proxy and (jump := str(found.get("proxyjump") or "")) and jump != "none":
        proxy = _jump(jump, host, port, path)
    files = shlex.split(str(found.get("userknownhostsfile") or "~/.ssh/known_hosts ~/.ssh/known_hosts2"))
    files += shlex.split(str(found.get("globalknownhostsfile") or "/etc/ssh/ssh_known_hosts"))
    return Reach(
        name,
        host,
        port,
        user,
        tuple(os.path.expanduser(str(identity)) for identity in found.get("identityfile", ())),
        str(found.get("identitiesonly", "no")).lower() == "yes",
        "" if proxy == "none" else proxy,
        tuple(Path(file).expanduser() for file in files),
    )


def _jump(jump: str, host: str, port: int, path: Path) -> str:
    """The same way through other machines, by OpenSSH's own client."""
    *before, last = jump.split(",")
    words = ["ssh", "-o", "BatchMode=yes", *(("-F", str(path)) if path.exists() else ())]
    words += [*(("-J", ",".join(before)) if before else ()), "-W", f"[{host}]:{port}", "--", last]
    return shlex.join(words)
