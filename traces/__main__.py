# SPDX-License-Identifier: GPL-2.0-only
"""``python -m traces``: run the models and write tests/target/traces; ``--check`` compares instead (status 1)."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from harness.guest.trace import Trace

FOLDER = Path(__file__).parents[1] / "tests/target/traces"
MODELS = ("onnx_runtime", "litert", "pytorch")
"""Modules of this package, each with ``NAME`` and ``record()``; each needs its framework."""


def record(model: str) -> Trace:
    """Run a model. Raises ImportError where its framework is not installed."""
    made: Trace = import_module(f"traces.{model}").record()
    return made


def _path(trace: Trace) -> Path:
    return FOLDER / f"{trace.name}.json"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m traces", description=__doc__)
    parser.add_argument("models", nargs="*", help=f"which ones of {', '.join(MODELS)}; all")
    parser.add_argument("--check", action="store_true", help="write nothing, compare with what is there")
    options = parser.parse_args()
    models = options.models or MODELS
    if unknown := set(models) - set(MODELS):
        parser.error(f"no such model: {', '.join(sorted(unknown))}")
    differ = 0
    for model in models:
        trace = record(model)
        path, text = _path(trace), trace.text()
        same = path.exists() and path.read_text() == text
        state = "is the same" if same else "differs" if options.check else "written"
        print(f"{path}: {len(trace.steps)} steps, {trace.peak(1) / 2**20:.1f} MiB at most: {state}")
        if not options.check:
            path.write_text(text)
        elif not same:
            differ = 1
    return differ


if __name__ == "__main__":
    sys.exit(main())
