# SPDX-License-Identifier: GPL-2.0-only
"""A broken emulation is never blamed on a patch; a missing one is noticed by the tests that rest on it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import KERNEL, PROJECT, Edit, Harness, Plant

pytestmark = [pytest.mark.kernel, pytest.mark.qemu]

UNKNOWN_OPCODE = Edit("drivers/accel/amdxdna/aie2_msg_priv.h", r"(MSG_OP_ADD_HOST_BUFFER\s*=\s*)0x115", r"\g<1>0x1fe")
HANDLED = ("test_e22", "test_e23", "test_e24", "test_e25")


def children(pid: int) -> list[int]:
    """All processes below ``pid`` (proc(5), /proc/PID/task/TID/children)."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            found += [int(child), *children(int(child))]
    return found


def npu_of(pid: int) -> int:
    """The emulated NPU's process below ``pid``."""
    for child in children(pid):
        if b"harness.npu" in Path(f"/proc/{child}/cmdline").read_bytes():
            return child
    raise AssertionError("no NPU process")


@pytest.mark.parametrize(("times", "status", "verdict"), [(1, 0, "GOOD"), (2, 3, "UNKNOWN")])
def test_an_npu_killed_in_a_test_blames_nobody(tmp_path: Path, times: int, status: int, verdict: str) -> None:
    """Once costs no answer: the test is asked once more. Twice is no answer."""
    out = tmp_path / "run"
    argv = [sys.executable, "-m", "harness.cli", "run", "--kernel", KERNEL, "-k", "e16", "--fresh", "--out", str(out)]
    records = out / "head" / "emulated-npu4-sva-plain-restored" / "results.jsonl"
    with subprocess.Popen(argv, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        deadline = time.monotonic() + 1800
        for started in range(1, times + 1):
            while not (records.exists() and records.read_text().count('"test-start"') >= started):
                assert time.monotonic() < deadline
                assert process.poll() is None, process.stdout.read() if process.stdout else ""
                time.sleep(0.02)
            os.kill(npu_of(process.pid), signal.SIGKILL)
        said, _ = process.communicate(timeout=900)
    assert process.returncode == status, said
    assert said.strip().splitlines()[-1].endswith(verdict)
    assert said.count("is asked once more: ") == 2, "as it happens, and in the report"
    assert "the emulated NPU" in said


def test_an_opcode_the_npu_does_not_know_is_unknown(harness: Harness, plant: Plant) -> None:
    ran = harness("run", plant("another opcode", UNKNOWN_OPCODE), "--kernel", KERNEL, "-k", "e01 or e22")
    assert ran.status == 3, ran
    assert ran.report["verdict"] == "UNKNOWN"
    assert ran.report["regressed"] == []
    assert "unknown opcode 0x1fe" in ran.stdout


def test_without_its_host_buffer_handling_the_npu_fails_e22_to_e25(tmp_path: Path) -> None:
    package = tmp_path / "patched"
    shutil.copytree(PROJECT / "harness", package / "harness")
    for folder in ("jobs", "patches", "vm-images", "tests"):
        (package / folder).symlink_to(PROJECT / folder)
    file = package / "harness" / "npu" / "management.py"
    text, count = re.subn(
        r"(def _add_host_buffer\([^)]*\)[^:]*:\n)", r"\g<1>        return Reply()\n", file.read_text()
    )
    assert count == 1
    file.write_text(text)
    out = tmp_path / "run"
    argv = [
        sys.executable,
        "-m",
        "harness.cli",
        "run",
        "--kernel",
        KERNEL,
        "-k",
        " or ".join(("e01", *HANDLED)),
        "--out",
        str(out),
    ]
    done = subprocess.run(
        argv,
        cwd=package,
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    records = (out / "head" / "emulated-npu4-sva-plain-restored" / "results.jsonl").read_text()
    failed = set(re.findall(r'"id": "[^"]*::(test_e\d\d)[^"]*", "outcome": "fail"', records))
    assert failed == set(HANDLED)


def test_an_interrupted_run_blames_nobody_and_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    argv = [sys.executable, "-m", "harness.cli", "run", "--kernel", KERNEL, "-k", "e01 or e16 or l02", "--fresh"]
    argv += ["--out", str(out)]
    records = out / "head" / "emulated-npu4-sva-plain-restored" / "results.jsonl"
    # Whoever started us in the background made us deaf to the signal, and our children with us.
    heard = ["env", "--default-signal=INT", *argv]
    with subprocess.Popen(heard, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        deadline = time.monotonic() + 1800
        while not (records.exists() and '"test-start"' in records.read_text()):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        stopped = time.monotonic()
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert time.monotonic() - stopped < 15
    assert '"LOST"' not in records.read_text()
    again = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, timeout=900, check=False)
    assert again.returncode == 0, again.stdout + again.stderr
