# SPDX-License-Identifier: GPL-2.0-only
"""kernel-doc: are the comments that documentation is made from in order, and of what is there?"""

from __future__ import annotations

from dataclasses import dataclass

from harness.checks.static.check import failed
from harness.formats import complaints
from harness.host.bench import Bench
from harness.host.sandbox import SOURCE
from harness.model.complaint import Answer


@dataclass(frozen=True)
class KernelDoc:
    """``scripts/kernel-doc -none -Wall``, on the files that the series touches. It was in Perl before 6.16."""

    name: str = "kernel-doc"
    programs: tuple[str, ...] = ("perl", "python3")

    def ask(self, bench: Bench) -> Answer:
        files = [name for name in bench.present if name.endswith((".c", ".h"))]
        if not files:
            return Answer()
        said = bench.look([f"{SOURCE}/scripts/kernel-doc", "-none", "-Wall", *files], self.name)
        found = complaints.kernel_doc(said.text)
        # It ends with the number of its warnings if it is told to take them for errors, else with 0.
        if said.status != 0 and not found:
            return Answer(not_asked=failed(said, self.name))
        return Answer(found)
