# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InfraError, UsageError
from harness.host.power import CommandPower, IpmiPower, LabgridPower, LeasedPower, said


def switch(tmp_path: Path, **commands: str) -> CommandPower:
    acts = ("on", "off", "status")
    filled = {act: f"echo {act} >> {tmp_path}/calls; {commands.get(act, '')}" for act in acts}
    return CommandPower("box", {**filled, **commands}, off_seconds=0.0)


def calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "calls").read_text().split()


@pytest.mark.parametrize(
    ("output", "means"),
    [
        ("on\n", True),
        ("Chassis Power is off\n", False),
        ("outlet 3: ON.", True),
        ("", None),
        ("unknown", None),
        ("off since on", True),
    ],
)
def test_a_status_is_told_by_its_last_word(output: str, means: bool | None) -> None:
    assert said(output) is means


def test_without_a_cycle_it_is_off_and_on(tmp_path: Path) -> None:
    switch(tmp_path).cycle()
    assert calls(tmp_path) == ["off", "on"]


def test_a_cycle_of_its_own_is_taken(tmp_path: Path) -> None:
    switch(tmp_path, cycle=f"echo cycle >> {tmp_path}/calls").cycle()
    assert calls(tmp_path) == ["cycle"]


def test_a_switch_without_status_tells_nothing(tmp_path: Path) -> None:
    assert CommandPower("box", {"on": "true"}).status() is None


def test_a_command_that_is_not_there_is_the_users_to_add() -> None:
    with pytest.raises(UsageError, match="box: its lab file has no command for power off"):
        CommandPower("box", {"on": "true"}).cycle()


def test_a_command_that_fails_is_no_power(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="power on of box failed with status 3: relay: no such outlet"):
        CommandPower("box", {"on": "echo 'relay: no such outlet' >&2; exit 3"}).on()


def test_a_password_is_on_no_command_line() -> None:
    argv = IpmiPower("box", "bmc", "admin", Path("/secret"), options=("-C", "17")).argv("chassis", "power", "status")
    assert argv == [
        *("ipmitool", "-I", "lanplus", "-H", "bmc", "-p", "623", "-U", "admin"),
        *("-f", "/secret", "-C", "17", "chassis", "power", "status"),
    ]


def test_what_is_off_cannot_be_cycled_by_ipmi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "ipmitool"
    fake.write_text(f'#!/bin/sh\nfor last; do :; done\necho "$last" >> {tmp_path}/calls\necho "Chassis Power is off"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    IpmiPower("box", "bmc", "admin").cycle()
    assert calls(tmp_path) == ["status", "on"]


class Driver:
    """A power driver of labgrid's that cannot tell its state."""

    def __init__(self) -> None:
        self.did: list[str] = []

    def cycle(self) -> None:
        self.did.append("cycle")

    def on(self) -> None:
        raise RuntimeError("the PDU does not answer")


def with_labgrid(monkeypatch: pytest.MonkeyPatch, driver: Any) -> None:
    """A stand-in for the library; the real one is asked in tests/system/test_power.py."""
    target = types.SimpleNamespace(get_driver=lambda protocol: driver)
    environment = types.SimpleNamespace(get_target=lambda name: target if name == "main" else None)
    module = types.ModuleType("labgrid")
    module.Environment = lambda path: environment  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "labgrid", module)


def test_labgrids_driver_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver()
    with_labgrid(monkeypatch, driver)
    power = LabgridPower("box", Path("env.yaml"))
    power.cycle()
    assert driver.did == ["cycle"]
    assert power.status() is None


def test_whatever_labgrid_raises_is_the_labs(monkeypatch: pytest.MonkeyPatch) -> None:
    with_labgrid(monkeypatch, Driver())
    with pytest.raises(InfraError, match="power on of box: labgrid says: the PDU does not answer"):
        LabgridPower("box", Path("env.yaml")).on()


def test_a_target_that_labgrid_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    with_labgrid(monkeypatch, Driver())
    with pytest.raises(UsageError, match=r"env\.yaml has no target other"):
        LabgridPower("box", Path("env.yaml"), "other").on()


def test_without_labgrid_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "labgrid", None)
    with pytest.raises(UsageError, match="labgrid, which is not installed"):
        LabgridPower("box", Path("env.yaml")).on()


def test_a_switch_behind_a_lease_is_not_touched_when_that_is_lost() -> None:
    touched: list[str] = []

    class Switch:
        def on(self) -> None:
            touched.append("on")

        def off(self) -> None:
            touched.append("off")

        def cycle(self) -> None:
            touched.append("cycle")

        def status(self) -> bool | None:
            return True

    def lost() -> None:
        raise InfraError("the lease is lost")

    LeasedPower(Switch(), lambda: None).cycle()
    behind = LeasedPower(Switch(), lost)
    for act in (behind.on, behind.off, behind.cycle):
        with pytest.raises(InfraError, match="lost"):
            act()
    assert behind.status()
    assert touched == ["cycle"]
