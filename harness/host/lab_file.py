# SPDX-License-Identifier: GPL-2.0-only
"""How the machines of a lab are switched and listened to: a TOML file of this user's, a table for each machine.

    [labhost.power]
    by = "command"
    cycle = "relay 3 cycle"

    [labhost.console]
    by = "command"
    command = "cat /dev/ttyUSB0"

The file is ~/.config/xdna-harness/lab.toml, or the one that XDNA_HARNESS_LAB names. Like the ssh configuration it is
not part of a job, which says which machine, and not how this user gets there. Machines are called as in a target.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness.errors import UsageError
from harness.host.console import CommandConsole, Console, NetConsole
from harness.host.power import OFF_SECONDS, CommandPower, IpmiPower, LabgridPower, Power

LAB_FILE = "XDNA_HARNESS_LAB"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ByCommand(_Strict):
    """sh commands; see CommandPower."""

    by: Literal["command"]
    on: str = ""
    off: str = ""
    cycle: str = ""
    status: str = ""
    off_seconds: float = Field(default=OFF_SECONDS, ge=0, le=600)

    def power(self, name: str) -> Power:
        commands = {act: getattr(self, act) for act in ("on", "off", "cycle", "status")}
        return CommandPower(name, commands, self.off_seconds)


class ByIpmi(_Strict):
    """A BMC; see IpmiPower. ``password_file``: ipmitool's -f."""

    by: Literal["ipmi"]
    host: str
    user: str
    password_file: Path | None = None
    interface: str = "lanplus"
    port: int = Field(default=623, ge=1, le=65535)
    options: tuple[str, ...] = ()

    def power(self, name: str) -> IpmiPower:
        password = None if self.password_file is None else self.password_file.expanduser()
        return IpmiPower(name, self.host, self.user, password, self.interface, self.port, self.options)


class ByLabgrid(_Strict):
    """A target of a labgrid environment file."""

    by: Literal["labgrid"]
    environment: Path
    target: str = "main"

    def power(self, name: str) -> Power:
        return LabgridPower(name, self.environment.expanduser(), self.target)


class CommandListener(_Strict):
    """A sh command whose standard output is the console."""

    by: Literal["command"]
    command: str = Field(min_length=1)

    def listen(self, path: Path) -> Console:
        return CommandConsole(self.command, path)


class NetListener(_Strict):
    """netconsole, at an address of this machine."""

    by: Literal["netconsole"]
    address: str
    port: int = Field(default=6666, ge=0, le=65535)
    source: str = ""

    def listen(self, path: Path) -> Console:
        return NetConsole(self.address, self.port, path, self.source)


class SolListener(ByIpmi):
    """Serial over LAN of a BMC."""

    def listen(self, path: Path) -> Console:
        return CommandConsole(self.power("").serial_over_lan(), path)


class Machine(_Strict):
    """What can be done to one machine from outside."""

    power: Annotated[ByCommand | ByIpmi | ByLabgrid, Field(discriminator="by")] | None = None
    console: Annotated[CommandListener | NetListener | SolListener, Field(discriminator="by")] | None = None


@dataclass(frozen=True)
class Outside:
    """The same, ready to be used: its switch, and where its console can be heard; None: there is none."""

    name: str
    settings: Machine

    @property
    def power(self) -> Power | None:
        return None if self.settings.power is None else self.settings.power.power(self.name)

    def console(self, path: Path) -> Console | None:
        """Listen from now on, into the file ``path``; the caller closes it. UsageError."""
        return None if self.settings.console is None else self.settings.console.listen(path)


def outside(name: str, environ: Mapping[str, str] = os.environ) -> Outside:
    """What the lab file says of a machine. Without a file, nothing; UsageError: it cannot be read, or is wrong."""
    named = environ.get(LAB_FILE, "")
    path = Path(named or "~/.config/xdna-harness/lab.toml").expanduser()
    if not named and not path.exists():
        return Outside(name, Machine())
    try:
        return Outside(name, parse(path.read_text()).get(name, Machine()))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint=f"{LAB_FILE} names it") from error
    except ValueError as error:
        raise UsageError(f"{path}: {error}", hint="mend it; docs/labs.md has examples") from error


def parse(text: str) -> dict[str, Machine]:
    """The machines of a lab file, by name. ValueError says in one line what is wrong, and where."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not TOML: {error}") from error
    try:
        return TypeAdapter(dict[str, Machine]).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
