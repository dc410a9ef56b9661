# SPDX-License-Identifier: GPL-2.0-only
"""Measure the harness against the raw commands, side by side, in one run: ``python -m benchmarks [OUT.json]``.

    raw     download and unpack the source, make -j of the same configuration without ccache, one boot to the first test
    cold    the harness from an empty cache to a verdict, one lane, plain profile
    again   the same run once more: nothing may be built or unpacked
    patch   one more tree on the same base: a patch that touches the driver
    boot    from the start of QEMU to the first test

Takes about twice the time of a kernel build (half an hour on 2 cores), and 5 GB below $TMPDIR. Never part of CI: a
busy machine would fail it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

KERNEL = "debian:7.3"
FIRST_TEST = "test_e01_first_chunk"
TARGETS = {"cold / raw": 1.2, "patch, s": 90.0, "boot to first test, s": 10.0}


def timed(act: Callable[[], object]) -> float:
    """Seconds that ``act`` takes."""
    started = time.monotonic()
    act()
    return time.monotonic() - started


def harness(cache: Path, *words: str | Path) -> str:
    """Run the command line with a cache of its own; its standard error."""
    argv = [sys.executable, "-m", "harness.cli", *map(str, words)]
    env = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(argv)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stderr


def raw_make(cache: Path, scratch: Path) -> None:
    """make of the configuration that the harness used, on its source, by hand."""
    source = next((cache / "xdna-harness" / "sources").glob("*/Makefile")).parent
    config = next((cache / "xdna-harness" / "kernels").glob("*/build/.config"))
    build = scratch / "raw-build"
    build.mkdir()
    shutil.copy(config, build / ".config")
    make = ["make", "-C", str(source), f"O={build}", f"-j{os.cpu_count()}"]
    subprocess.run([*make, "olddefconfig"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*make, "bzImage", "modules"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def first_test_seconds(run: Path) -> float:
    """From the start of the NPU and QEMU to the first test, as the lane's records say."""
    lines = next(run.glob("head/*/results.jsonl")).read_text().splitlines()
    return float(next(e["at"] for e in map(json.loads, lines) if e.get("event") == "test-start"))


@contextmanager
def scratch_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="xdna-benchmark-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(scratch: Path) -> dict[str, float]:
    """All figures, in seconds."""
    from harness.host.sources import resolve
    from harness.host.store import Store

    cache, raw_cache = scratch / "cache", scratch / "raw-cache"
    one_test = ("run", "--kernel", KERNEL, "-k", FIRST_TEST, "--out")
    figures = {"cold": timed(lambda: harness(cache, *one_test, scratch / "1"))}
    kernels = sorted((cache / "xdna-harness" / "kernels").iterdir())
    figures["again"] = timed(lambda: harness(cache, *one_test, scratch / "2"))
    if sorted((cache / "xdna-harness" / "kernels").iterdir()) != kernels:
        sys.exit("the second run built something")
    figures["boot to first test"] = first_test_seconds(scratch / "2")
    figures["raw download and unpack"] = timed(lambda: resolve(KERNEL, Store(raw_cache)))
    figures["raw make"] = timed(lambda: raw_make(cache, scratch))
    figures["raw"] = figures["raw download and unpack"] + figures["raw make"] + figures["boot to first test"]
    return figures


def main() -> None:
    with scratch_folder() as scratch:
        figures = measure(scratch)
    rows = {
        "cold / raw": figures["cold"] / figures["raw"],
        "again / cold": figures["again"] / figures["cold"],
        "boot to first test, s": figures["boot to first test"],
    }
    for name, seconds in figures.items():
        print(f"{name:28} {seconds:8.1f} s")
    for name, value in rows.items():
        print(f"{name:28} {value:8.2f}" + (f"   target: at most {TARGETS[name]}" if name in TARGETS else ""))
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps({"seconds": figures, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
