# SPDX-License-Identifier: GPL-2.0-only
"""Is the driver's uAPI header one that a program can include, alone, in C and in C++?

It is exported as the kernel's own ``make headers`` does, and compiled as usr/include/Makefile compiles all headers.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from harness.checks.static.check import failed, stopped
from harness.formats import complaints
from harness.host.bench import PREPARED, Bench
from harness.host.sandbox import BUILD, SOURCE
from harness.model.complaint import Answer

FOLDER = "include/uapi/drm"
HEADER = f"{FOLDER}/amdxdna_accel.h"
_LANGUAGES = (
    "gcc -fsyntax-only -x c -std=c90 -Wall -Wextra -Werror=implicit-function-declaration",
    "g++ -fsyntax-only -x c++ -std=c++98 -Wall -Wextra",
)
_COMPILES = "\n".join(
    f"echo '#include <drm/amdxdna_accel.h>' | {words} -I{BUILD}/new -I{PREPARED}/usr/include -" for words in _LANGUAGES
)
_SCRIPT = f"""
mkdir {BUILD}/new
cp -r {PREPARED}/usr/include/drm {BUILD}/new/drm || exit 3
cd {PREPARED}
for header in {BUILD}/{FOLDER}/*.h; do
    sh {SOURCE}/scripts/headers_install.sh $header {BUILD}/new/drm/$(basename $header) || exit 3
done
{_COMPILES}
exit 0
"""


@dataclass(frozen=True)
class Uapi:
    """The header as the tree has it, and its neighbours that the series touches, among the source's own."""

    name: str = "uAPI header"
    programs: tuple[str, ...] = ("gcc", "g++")

    def ask(self, bench: Bench) -> Answer:
        prepared = bench.prepared(lambda folder: _export(bench, folder), folder="headers")
        said = bench.look(["sh", "-c", _SCRIPT], self.name, extra=(HEADER,), prepared=prepared)
        if said.status != 0:
            return Answer(not_asked=failed(said, self.name))
        found = complaints.compiler(said.text.replace(f"{BUILD}/new/drm/", f"{FOLDER}/"))
        return Answer(found, gaps=stopped(found))


def _export(bench: Bench, folder: Path) -> None:
    bench.make_pristine([f"-j{os.cpu_count() or 1}", "headers"], folder, "exporting headers")
