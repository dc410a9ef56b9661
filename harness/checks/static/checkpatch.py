# SPDX-License-Identifier: GPL-2.0-only
"""checkpatch --strict: on each patch as it was mailed, commit message and sign-off too, and on the files it leaves."""

from __future__ import annotations

from dataclasses import dataclass

from harness.checks.static.check import failed
from harness.formats import complaints
from harness.host.bench import Bench, Said
from harness.host.sandbox import SOURCE
from harness.model.complaint import Answer

_WORDS = ("perl", f"{SOURCE}/scripts/checkpatch.pl", f"--root={SOURCE}")
_FORM = ("--strict", "--terse", "--showfile", "--show-types", "--no-summary", "--color=never")
_ENDED = (0, 1)
"""Nothing to complain about, or something."""
_FOREIGN = ("FILE_PATH_CHANGES",)
"""Asks for MAINTAINERS entries of new files, which this folder's pattern covers."""
_SUFFIXES = (".c", ".h", ".S", "Makefile", "Kconfig", ".rst")


@dataclass(frozen=True)
class Checkpatch:
    """Both ways of it: what it says about a mail belongs to that patch, whatever the base."""

    name: str = "checkpatch"
    programs: tuple[str, ...] = ("perl",)

    def ask(self, bench: Bench) -> Answer:
        words = (*_WORDS, *_FORM, f"--ignore={','.join(_FOREIGN)}")
        files = [name for name in bench.present if name.endswith(_SUFFIXES)]
        said = [bench.look([*words, "--file", *files], self.name)] if files else []
        mail = bench.look([*words, "--patch", "mail"], self.name) if bench.mail else Said(0, "")
        for one in (*said, mail):
            if one.status not in _ENDED:
                return Answer(not_asked=failed(one, self.name))
        found = complaints.checkpatch("\n".join(one.text for one in said))
        return Answer(found, complaints.checkpatch(mail.text))
