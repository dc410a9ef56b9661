# SPDX-License-Identifier: GPL-2.0-only
"""``xdna-harness shell``: a root shell in a guest with the driver loaded, by the same script that every boot leaves."""

from __future__ import annotations

import tempfile
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
from harness.log import say


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
