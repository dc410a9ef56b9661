# SPDX-License-Identifier: GPL-2.0-only
"""footprints.json: which lines of the driver each test runs. Written once for a driver and a suite, then read often."""

from __future__ import annotations

import json
from collections.abc import Mapping

from harness.formats.gcov import Coverage
from harness.model.footprint import Footprints


def gathered(counted: Mapping[str, Coverage]) -> Footprints:
    """What gcov counted in each test."""
    code: dict[str, frozenset[int]] = {}
    for coverage in counted.values():
        for name, counts in coverage.items():
            code[name] = code.get(name, frozenset()) | counts.lines.keys()
    tests = {
        test: {
            name: ran
            for name, counts in coverage.items()
            if (ran := frozenset(n for n, c in counts.lines.items() if c))
        }
        for test, coverage in counted.items()
    }
    return Footprints(code, tests)


def dump(footprints: Footprints) -> str:
    tests = {test: {name: sorted(ran) for name, ran in files.items()} for test, files in footprints.tests.items()}
    return json.dumps({"code": {name: sorted(lines) for name, lines in footprints.code.items()}, "tests": tests})


def load(text: str) -> Footprints:
    """What :func:`dump` wrote."""
    data = json.loads(text)
    tests = {
        str(test): {str(name): frozenset(map(int, ran)) for name, ran in files.items()}
        for test, files in data["tests"].items()
    }
    return Footprints({str(name): frozenset(map(int, lines)) for name, lines in data["code"].items()}, tests)
