# SPDX-License-Identifier: GPL-2.0-only
"""The same tables on a real PostgreSQL, on loopback: several holders at once, and a server that goes away."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from harness.errors import InfraError
from harness.host.database import Database
from harness.host.health import TABLE as HEALTH
from harness.host.health import HealthRecord
from harness.host.leases import TABLE, LeaseLost, Leases
from harness.model.health import HostState
from harness.model.lease import Holder

SECONDS = 3.0
USER = "postgres"


class Server:
    """A cluster of its own in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        if os.geteuid() == 0:
            shutil.chown(folder, USER)
        self.run("initdb", "--auth=trust", f"--username={USER}", "--no-sync", f"{folder}/data")

    def run(self, program: str, *words: str) -> None:
        """As an ordinary user: PostgreSQL refuses root."""
        user = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups"] if os.geteuid() == 0 else []
        argv = [*user, str(self.programs / program), *words]
        subprocess.run(argv, check=True, timeout=120, cwd="/", capture_output=True)

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {self.folder}"
        self.run(
            "pg_ctl", "-w", "-t", "110", "-D", f"{self.folder}/data", "-l", f"{self.folder}/log", "-o", options, "start"
        )

    def stop(self) -> None:
        self.run("pg_ctl", "-w", "-D", f"{self.folder}/data", "-m", "immediate", "stop")

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        pytest.skip("needs PostgreSQL: xdna-harness doctor --install --tests")
    with TemporaryDirectory(prefix="xdna-postgresql-") as name:  # pytest's folders are the user's alone
        made = Server(Path(name))
        made.start()
        yield made
        made.stop()


def me(name: str) -> Holder:
    return Holder(name, 1, name, "a run")


def test_of_many_who_want_a_machine_one_has_it(server: Server) -> None:
    at_once, most, tokens = [0], [0], []
    lock = threading.Lock()

    def work(number: int) -> None:
        leases = Leases(Database(server.url, (TABLE,)), seconds=SECONDS)
        lease = leases.acquire("shared", me(f"holder {number}"), 60)
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
            tokens.append(lease.token)
        time.sleep(0.05)
        lease.renew()
        with lock:
            at_once[0] -= 1
        lease.release()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert most == [1]
    assert tokens == sorted(set(tokens))


def test_who_has_it_is_told_and_a_silent_holder_is_overtaken(server: Server) -> None:
    leases = Leases(Database(server.url, (TABLE,)), seconds=SECONDS)
    first = leases.acquire("silent", me("anna"), 0)
    with pytest.raises(InfraError, match="silent is held by anna@anna"):
        leases.acquire("silent", me("ben"), 0)
    second = leases.acquire("silent", me("ben"), 3 * SECONDS)
    assert second.token > first.token
    assert second.abandoned is not None
    with pytest.raises(LeaseLost):
        first.check()


def test_a_server_that_restarts_costs_no_lease_and_one_that_stays_away_does(server: Server) -> None:
    leases = Leases(Database(server.url, (TABLE,)), seconds=4 * SECONDS)
    with leases.hold("kept", "a run", 0) as lease:
        server.stop()
        time.sleep(SECONDS)
        lease.check()
        server.start()
        before = leases.all()[0].beat
        deadline = time.monotonic() + 3 * SECONDS
        while (row := next(row for row in leases.all() if row.machine == "kept")).beat == before:
            assert time.monotonic() < deadline, "it is not renewed any more"
            time.sleep(0.1)
        lease.check()
        assert row.held
        server.stop()
        try:
            time.sleep(4 * SECONDS + 1)
            with pytest.raises(LeaseLost, match=r"was not renewed for 12 s: cannot use the database postgresql://"):
                lease.check()
        finally:
            server.start()


def test_states_are_kept_there_too(server: Server) -> None:
    record = HealthRecord(Database(server.url, (HEALTH,)))
    for state in (HostState.SUSPECT, HostState.BROKEN):
        record.set("box", state, f"is {state}", "a run")
    assert [health.reason for health in record.past("box")] == ["is BROKEN", "is SUSPECT"]
    assert record.machines() == ["box"]
