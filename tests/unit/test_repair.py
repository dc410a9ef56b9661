# SPDX-License-Identifier: GPL-2.0-only
"""A repair that is done, what is written down of it, and what the verb says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import holding
from harness.cli import cli
from harness.errors import InfraError
from harness.host.health import HealthRecord
from harness.host.holder import this_process
from harness.host.leases import URL, LeaseLost
from harness.host.ssh_config import CONFIG, Reach
from harness.job import Job
from harness.model.health import Act, HostState
from harness.repair import repair


class Bench:
    """A machine that answers as it is told."""

    can = frozenset({Act.REBOOT, Act.POWER_CYCLE})

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.done: list[Act] = []

    def do(self, act: Act) -> str:
        self.done.append(act)
        return self.answers.pop(0)


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HealthRecord:
    (tmp_path / "ssh").write_text("Host box\n  HostName 127.0.0.1\n  Port 1\n  UserKnownHostsFile /dev/null\n")
    monkeypatch.setenv(CONFIG, str(tmp_path / "ssh"))
    monkeypatch.setattr(holding, "MEND_SECONDS", 0.1)
    monkeypatch.setenv(URL, str(tmp_path / "leases.sqlite"))
    return holding.tables()[1]


def test_what_happened_can_be_read_afterwards(record: HealthRecord) -> None:
    assert repair("box", Bench("no ssh", "", ""), record, "runs/7").state is HostState.HEALTHY
    states = [(health.state, health.reason, health.run) for health in record.past("box")]
    assert states == [
        (HostState.HEALTHY, "answers again after a reboot", "runs/7"),
        (HostState.SUSPECT, "probe: no ssh", "runs/7"),
    ]


def test_what_is_no_news_is_not_written(record: HealthRecord) -> None:
    for run in ("a", "b"):
        repair("box", Bench(""), record, run)
    assert [health.run for health in record.past("box")] == ["a"]


def test_a_holder_that_is_overtaken_leaves_the_state_as_it_was(record: HealthRecord) -> None:
    class Overtaken(Bench):
        def do(self, act: Act) -> str:
            if act is not Act.PROBE:
                raise LeaseLost("gone")
            return super().do(act)

    with pytest.raises(LeaseLost):
        repair("box", Overtaken("no ssh"), record, "a")
    now = record.now("box")
    assert now is not None
    assert now.state is HostState.SUSPECT


def test_a_broken_machine_is_not_used_until_a_person_says_so(record: HealthRecord) -> None:
    asked = CliRunner().invoke(cli, ["hosts", "--broken", "box", "--reason", "its NPU smells"])
    assert asked.exit_code == 0, asked.output
    job = Job(kernel="debian:7.3", target="ssh:box", boot_seconds=0.1)
    with pytest.raises(InfraError, match=r"127.0.0.1:1 is BROKEN since .* \(by hand, .*\): its NPU smells") as caught:
        with holding.held(job, "a run", lambda why: None):
            pass
    assert "hosts --repair box" in caught.value.hint
    CliRunner().invoke(cli, ["hosts", "--healthy", "box", "--reason", "new NPU"])
    rows = json.loads(CliRunner().invoke(cli, ["hosts", "--json"]).output)
    assert [(row["machine"], row["state"], row["reason"]) for row in rows] == [("127.0.0.1:1", "HEALTHY", "new NPU")]
    assert "its NPU smells" in CliRunner().invoke(cli, ["hosts", "--past", "box"]).output


def test_a_machine_that_nobody_reaches_ends_broken(record: HealthRecord) -> None:
    said = CliRunner().invoke(cli, ["hosts", "--repair", "box"])
    assert said.exit_code == 3
    assert said.output.splitlines()[-1].startswith("127.0.0.1:1 is BROKEN: probe: box: no ssh to 127.0.0.1 port 1")
    assert "reboot: box: no ssh" in said.output


def test_who_has_it_is_seen(record: HealthRecord) -> None:
    leases, _ = holding.tables()
    with leases.hold("127.0.0.1:1", "runs/9", 0):
        said = CliRunner().invoke(cli, ["hosts"]).output
        assert "runs/9 since" in said
        with pytest.raises(InfraError, match="is held by"):
            holding.mend("box", "me")
    assert "runs/9" not in CliRunner().invoke(cli, ["hosts"]).output


def test_a_holder_that_died_makes_it_suspect(record: HealthRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    leases, _ = holding.tables()
    leases.acquire("127.0.0.1:1", this_process("runs/dead"), 0)
    leases.gone = lambda holder: True
    monkeypatch.setattr(holding, "tables", lambda: (leases, record))
    with pytest.raises(InfraError, match="BROKEN"):
        with holding.held(Job(kernel="debian:7.3", target="ssh:box", boot_seconds=0.1), "next", lambda why: None):
            pass
    assert any("runs/dead" in health.reason for health in record.past("127.0.0.1:1"))


def test_two_ports_are_two_machines() -> None:
    assert holding.name_of(Reach("a", "box.example.org", 22, "root")) == "box.example.org"
    assert holding.name_of(Reach("a", "box.example.org", 2222, "root")) == "box.example.org:2222"


@pytest.mark.parametrize("answers", [("",), ("no ssh", "", ""), ("no ssh", "no ssh", "", "")])
def test_who_takes_a_machine_out_of_use_meanwhile_is_heard(record: HealthRecord, answers: tuple[str, ...]) -> None:
    """By a person, while it is repaired."""

    class Bench2(Bench):
        def do(self, act: Act) -> str:
            if len(self.done) == 0:
                record.set("box", HostState.BROKEN, "its fan is dead", "by hand")
            return super().do(act)

    assert repair("box", Bench2(*answers), record, "runs/7").reason == "its fan is dead"
    now = record.now("box")
    assert now is not None
    assert (now.state, now.reason) == (HostState.BROKEN, "its fan is dead")


def test_one_that_a_person_took_out_of_use_during_a_run_stays_so(record: HealthRecord) -> None:
    record.set("box", HostState.BROKEN, "its fan is dead", "by hand")
    holding._look_at("box", Bench(), record, "runs/7")  # type: ignore[arg-type]
    now = record.now("box")
    assert now is not None
    assert now.state is HostState.BROKEN


def test_a_broken_one_that_a_person_has_repaired_is_healthy(record: HealthRecord) -> None:
    record.set("box", HostState.BROKEN, "no ssh", "runs/1")
    assert repair("box", Bench(""), record, "by hand").state is HostState.HEALTHY


def test_one_that_nobody_could_look_at_in_the_end_is_suspect(record: HealthRecord) -> None:
    class Interrupted(Bench):
        def do(self, act: Act) -> str:
            raise KeyboardInterrupt

    record.set("box", HostState.HEALTHY, "answers as it should", "runs/6")
    with pytest.raises(KeyboardInterrupt):
        holding._look_at("box", Interrupted(), record, "runs/7")  # type: ignore[arg-type]
    now = record.now("box")
    assert now is not None
    assert (now.state, now.run) == (HostState.SUSPECT, "runs/7")
