# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.host.lab_file import LAB_FILE, NetListener, outside, parse
from harness.host.power import CommandPower, IpmiPower, LabgridPower

TEXT = """
[one.power]
by = "command"
cycle = "relay 3 cycle"

[one.console]
by = "netconsole"
address = "10.0.0.1"

[two.power]
by = "ipmi"
host = "bmc2"
user = "admin"
password_file = "~/bmc"

[two.console]
by = "ipmi"
host = "bmc2"
user = "admin"

["three.example.org".power]
by = "labgrid"
environment = "env.yaml"
"""


def test_each_machine_has_its_own(tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    file.write_text(TEXT)
    environ = {LAB_FILE: str(file)}
    assert isinstance(outside("one", environ).power, CommandPower)
    two = outside("two", environ).power
    assert isinstance(two, IpmiPower)
    assert two.password_file == Path("~/bmc").expanduser()
    assert isinstance(outside("three.example.org", environ).power, LabgridPower)
    assert isinstance(outside("one", environ).settings.console, NetListener)


def test_a_machine_that_it_does_not_name_has_neither(tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    file.write_text(TEXT)
    found = outside("four", {LAB_FILE: str(file)})
    assert found.power is None
    assert found.console(tmp_path / "console") is None


def test_nobody_needs_a_lab_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert outside("one", {}).power is None


def test_one_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*nowhere\.toml"):
        outside("one", {LAB_FILE: str(tmp_path / "nowhere.toml")})


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[one.power]\nby = 'command'\ncicle = 'x'", r"one\.power\.command\.cicle: Extra inputs"),
        ("[one.power]\nby = 'magic'", r"one\.power: .*'command'.*'ipmi'.*'labgrid'"),
        ("[one.power]\nby = 'ipmi'\nhost = 'x'", r"one\.power\.ipmi\.user: Field required"),
        ("[one.console]\nby = 'command'\ncommand = ''", "at least 1 character"),
        ("[one", "not TOML"),
        (f"one = {'[' * 5000}", "not TOML"),
        (f"one = {'1' * 5001}", "not TOML"),
    ],
)
def test_what_is_wrong_is_named(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        parse(text)
