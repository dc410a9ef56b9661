# SPDX-License-Identifier: GPL-2.0-only
"""A place of labgrid, for labs in which that says who has a machine: acquired and released by labgrid's own client.

Which coordinator is the user's business (LG_COORDINATOR, as for labgrid-client). As a process: the library's client
wants an event loop of its own. labgrid knows users of hosts and no processes, so a place is acquired by who holds the
machine's lease already: of two runs by one user the lease lets one wait.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import HarnessError, InfraError, UsageError
from harness.host import proc
from harness.log import say, warn

CLIENT = "labgrid-client"
CLIENT_SECONDS = 60.0
LOOK_SECONDS = 5.0
OURS = "You have already acquired place"
TAKEN = "is already acquired by"


@contextmanager
def place(name: str, wait: float) -> Iterator[None]:
    """Have a place, waiting for it for ``wait`` seconds at most. UsageError: no client, or no such place; InfraError:
    no coordinator, or another user had it all the time, who is named."""
    deadline = time.monotonic() + wait
    told = ""
    while taken := _acquire(name):
        if time.monotonic() >= deadline:
            raise InfraError(taken, hint=f"waited {wait:.0f} s; wait for its release, or ask for it", transient=True)
        if taken != told:
            told = taken
            say(f"{taken}: waiting, {deadline - time.monotonic():.0f} s at most")
        time.sleep(min(LOOK_SECONDS, max(0.1, deadline - time.monotonic())))
    try:
        yield
    finally:
        _release(name)


def _acquire(name: str) -> str:
    """Try it: empty when it is ours, else who has it. A place that is this user's already was left by a run that was
    killed: the machine's lease is ours."""
    status, said = _client(name, "acquire")
    if status == 0 or OURS in said:
        return ""
    if TAKEN in said:
        return f"labgrid: {said}"
    if "matches nothing" in said:
        raise UsageError(f"labgrid has no place {name}: {said}", hint=f"'{CLIENT} places' lists them")
    raise InfraError(
        f"labgrid: {said}", hint=f"does '{CLIENT} -p {name} show' work? LG_COORDINATOR names the coordinator"
    )


def _release(name: str) -> None:
    """That it does not work changes nothing of what happened meanwhile."""
    try:
        status, said = _client(name, "release")
    except HarnessError as error:
        status, said = 1, error.message
    if status != 0:
        warn(f"the labgrid place {name} was not released: {said}; '{CLIENT} -p {name} release' does it")


def _client(name: str, verb: str) -> tuple[int, str]:
    """Run the client: its status and what it said last."""
    done = proc.run([_program(), "-p", name, verb], what=f"{CLIENT} {verb}", timeout=CLIENT_SECONDS, check=False)
    said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["nothing"]
    return done.status, said[0].removeprefix(f"{CLIENT}: ").removeprefix("Error: ")


def _program() -> str:
    """On the PATH, or beside this Python. UsageError: nowhere."""
    beside = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    found = shutil.which(CLIENT, path=beside)
    if found is None:
        raise UsageError(f"--place needs {CLIENT}", hint="pip install 'xdna-harness[labgrid]'")
    return found
