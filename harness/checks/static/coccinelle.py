# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own semantic patches (make coccicheck, MODE=report) on the driver."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.checks.static.check import DRIVER, failed
from harness.formats import complaints
from harness.host.bench import Bench
from harness.host.sandbox import SOURCE
from harness.model.complaint import Answer

_FAILED = re.compile(r"^xdna: failed: (\S+)$", re.MULTILINE)
_DONE = "xdna: done"
# coccicheck ends at the first semantic patch that its tool cannot run, so each has a make of its own.
_EACH = f"""
for patch in $(cd {SOURCE} && find scripts/coccinelle -name '*.cocci' | sort); do
    grep -q 'virtual[[:space:]]\\+report' {SOURCE}/$patch || continue
    make -s -C {SOURCE} O=/build M={SOURCE}/{DRIVER} MO=/obj MODE=report COCCI={SOURCE}/$patch \\
        DEBUG_FILE=/dev/null coccicheck || echo "xdna: failed: $patch"
done
echo "{_DONE}"
"""


@dataclass(frozen=True)
class Coccinelle:
    """Only files that the series touches are looked at, beside all headers."""

    name: str = "coccinelle"
    programs: tuple[str, ...] = ("spatch",)

    def ask(self, bench: Bench) -> Answer:
        files = [name for name in bench.present if name.startswith(f"{DRIVER}/") and name.endswith((".c", ".h"))]
        if not files:
            return Answer()
        said = bench.shell(_EACH, self.name, DRIVER, files)
        if _DONE not in said.text:
            return Answer(not_asked=failed(said, self.name))
        gaps = tuple(f"{patch} cannot be run by this tool" for patch in _FAILED.findall(said.text))
        return Answer(complaints.coccinelle(said.text), gaps=gaps)
