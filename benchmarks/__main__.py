# SPDX-License-Identifier: GPL-2.0-only
"""Measure the harness beside the raw commands, in one run: ``python -m benchmarks [PART ...] [--json FILE]``.

    restore     QEMU to a ready driver: restored, booted, raw QEMU; plain and debug kernel
    nothing     the same run again
    presubmit   a commit in a kernel tree; beside compile and suite
    patches     each further patch of a series
    virtme      one file changed, built and booted: virtme-ng beside us
    cold        from an empty cache to a verdict, beside download, make and one boot

All of it takes an hour and 15 GB below $TMPDIR. Never part of CI: a busy machine would fail it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.parts import PARTS, Bench
from benchmarks.table import Row, render


@contextmanager
def scratch_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="xdna-benchmark-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))} (there are {', '.join(PARTS)})")
    rows: list[Row] = []
    with scratch_folder() as scratch:
        bench = Bench(scratch, int(time.time()))
        for name in options.parts or PARTS:
            print(f"{name} ...", file=sys.stderr, flush=True)
            for row in PARTS[name](bench):
                rows.append(row)
                print(f"  {row.what}: {row.seconds:.2f} s", file=sys.stderr, flush=True)
            if options.json:
                machine = {"cores": os.cpu_count(), "load": os.getloadavg()[0]}
                found = {"machine": machine, "rows": [row.as_json() for row in rows]}
                options.json.write_text(json.dumps(found, indent=1) + "\n")
    print(render(rows), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
