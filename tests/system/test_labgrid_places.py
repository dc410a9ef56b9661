# SPDX-License-Identifier: GPL-2.0-only
"""A real labgrid coordinator on loopback: a place is acquired, refused, waited for and released."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import InfraError, UsageError
from harness.host.labgrid import CLIENT, place

PROGRAMS = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
OTHER = {"LG_USERNAME": "other", "LG_HOSTNAME": "elsewhere"}


def client(*words: str, **env: str) -> str:
    program = shutil.which(CLIENT, path=PROGRAMS)
    assert program is not None
    done = subprocess.run(
        [program, *words], env={**os.environ, **env}, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = shutil.which("labgrid-coordinator", path=PROGRAMS)
    if program is None:
        pytest.skip("needs labgrid: pip install 'xdna-harness[labgrid]'")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    folder = tmp_path_factory.mktemp("labgrid")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "-l", address], cwd=folder, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), 1).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.2)
        client("-x", address, "-p", "box", "create")
        yield address
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(autouse=True)
def _known(coordinator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LG_COORDINATOR", coordinator)
    monkeypatch.setattr("harness.host.labgrid.LOOK_SECONDS", 0.5)


def holder() -> str:
    return next(line for line in client("-p", "box", "show").splitlines() if "acquired:" in line).split(":")[1].strip()


def test_a_place_is_ours_meanwhile() -> None:
    with place("box", 0):
        assert holder().endswith(os.environ.get("USER", "root"))
    assert holder() in ("", "None")


def test_who_has_it_is_named() -> None:
    client("-p", "box", "acquire", **OTHER)
    try:
        with pytest.raises(InfraError, match="already acquired by elsewhere/other"):
            with place("box", 0):
                pass
    finally:
        client("-p", "box", "release", **OTHER)


def test_it_is_waited_for() -> None:
    client("-p", "box", "acquire", **OTHER)
    threading.Timer(3, lambda: client("-p", "box", "release", **OTHER)).start()
    with place("box", 60):
        assert "other" not in holder()


def test_one_that_a_killed_run_left_is_ours() -> None:
    client("-p", "box", "acquire")
    with place("box", 0):
        pass
    assert holder() in ("", "None")


def test_a_place_that_is_none() -> None:
    with pytest.raises(UsageError, match="labgrid has no place nowhere"):
        with place("nowhere", 0):
            pass


def test_a_coordinator_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LG_COORDINATOR", "127.0.0.1:1")
    with pytest.raises(InfraError, match="labgrid"):
        with place("box", 0):
            pass
