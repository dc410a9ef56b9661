# SPDX-License-Identifier: GPL-2.0-only
"""A root shell in a guest: ``xdna-harness shell`` boots one with the driver loaded, by the same script that every boot
leaves; ``line_shell`` is for a guest whose console is taken already, as the one in which a test has failed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from harness.engines.module import Modules
from harness.host.data import data_folder
from harness.host.machine import write_script
from harness.host.proc import interactive
from harness.host.sandbox import Sandbox
from harness.host.sources import resolve
from harness.host.store import Store
from harness.host.trees import make_tree
from harness.job import Job
from harness.lab import Lab
from harness.log import printable, say
from harness.model.session import Session, SessionLost

LINE_SECONDS = 600.0
"""What one line may take."""
LINE = 'cd -- "$1" && eval "$2"; status=$?; printf "\\n%s" "$PWD"; exit $status'
"""What a guest does of a line: in the folder in which the last one ended, which it tells."""


def boot_shell(job: Job, store: Store) -> int:
    """Build the job's kernel if need be, and boot it with its console on this terminal; QEMU's exit status."""
    tree = make_tree(resolve(job.kernel, store), (), store)
    module = Modules(store, Sandbox.detect(), data_folder("jobs") / "kconfig").build(tree, job.profile)
    lab = Lab.prepare(store)
    with tempfile.TemporaryDirectory(prefix="xdna-shell-") as name:
        payload = Path(name) / "payload.tar"
        payload.write_bytes(lab.payload(module, job.variant).whole())
        script = write_script(lab.machine(module.kernel, job.variant), Path(name), payload)
        say("booting; leave the shell to power the guest off")
        return interactive([script])


def line_shell(session: Session, read: Callable[[str], str] = input) -> None:
    """Line by line, each by a bash of its own, until ``exit`` or the end of the input. What wants a terminal does not
    work here."""
    say("a shell in the guest, line by line, its folder kept; 'exit' ends it")
    folder = "/run/xdna"
    while True:
        try:
            line = read(f"guest:{folder}# ")
        except EOFError:
            return
        if line.strip() in ("exit", "logout"):
            return
        if not line.strip():
            continue
        try:
            status, output = session.run(["bash", "-c", LINE, "bash", folder, line], LINE_SECONDS)
        except SessionLost as gone:
            say(f"the guest is gone: {gone.lost.evidence.splitlines()[0]}", style="red")
            return
        output, _, last = output.rpartition("\n")
        if last.startswith("/"):
            folder = last
        else:
            output = f"{output}\n{last}"
        if output := printable(output.rstrip("\n")):
            print(output)
        if status:
            say(f"status {status}")
