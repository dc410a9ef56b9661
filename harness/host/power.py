# SPDX-License-Identifier: GPL-2.0-only
"""A machine's power, from outside: by commands of the user's, by IPMI, or by a driver of labgrid's.

Every switch can do the same four things. What it cannot tell is None, and never "on".
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from harness.errors import InfraError, UsageError
from harness.host import proc

SWITCH_SECONDS = 60.0
OFF_SECONDS = 5.0
"""How long a cycle without a command of its own leaves a machine without power: capacitors keep some for a while."""
Act = Literal["on", "off", "cycle", "status"]


class Power(Protocol):
    """A switch. Errors: InfraError when it does not do what it should; UsageError when it cannot."""

    def on(self) -> None: ...

    def off(self) -> None: ...

    def cycle(self) -> None:
        """Off and on; a machine that was off is on afterwards."""

    def status(self) -> bool | None:
        """Whether there is power; None: nobody can tell."""


@dataclass(frozen=True)
class LeasedPower:
    """A switch that ``check`` is asked about before anybody touches it; it raises when the machine is not ours."""

    power: Power
    check: Callable[[], None]

    def on(self) -> None:
        self.check()
        self.power.on()

    def off(self) -> None:
        self.check()
        self.power.off()

    def cycle(self) -> None:
        self.check()
        self.power.cycle()

    def status(self) -> bool | None:
        return self.power.status()


@dataclass(frozen=True)
class CommandPower:
    """sh commands for ``on``, ``off``, ``cycle`` and ``status``, as far as there are some. Without ``cycle`` it is off,
    ``off_seconds``, on. ``status`` prints a line that ends in "on" or "off"; a command that fails is an error."""

    name: str
    commands: Mapping[str, str]
    off_seconds: float = OFF_SECONDS

    def on(self) -> None:
        self._do("on")

    def off(self) -> None:
        self._do("off")

    def cycle(self) -> None:
        if self.commands.get("cycle"):
            self._do("cycle")
            return
        self._do("off")
        time.sleep(self.off_seconds)
        self._do("on")

    def status(self) -> bool | None:
        return said(self._do("status")) if self.commands.get("status") else None

    def _do(self, act: Act) -> str:
        command = self.commands.get(act)
        if not command:
            raise UsageError(f"{self.name}: its lab file has no command for power {act}", hint="add it there")
        return proc.run(["sh", "-c", command], what=f"power {act} of {self.name}", timeout=SWITCH_SECONDS).stdout


@dataclass(frozen=True)
class IpmiPower:
    """A BMC, by ipmitool. The password stands in a file, since everybody sees a command line."""

    name: str
    host: str
    user: str
    password_file: Path | None = None
    interface: str = "lanplus"
    port: int = 623
    options: tuple[str, ...] = ()
    """More of ipmitool's options, such as -C 17 or -L OPERATOR."""

    def argv(self, *words: str) -> list[str]:
        """ipmitool's command line, with what is to be done."""
        login = [] if self.password_file is None else ["-f", str(self.password_file)]
        where = ["-I", self.interface, "-H", self.host, "-p", str(self.port), "-U", self.user]
        return ["ipmitool", *where, *login, *self.options, *words]

    def serial_over_lan(self) -> str:
        """A sh command that prints the console. Someone else's session is ended: a BMC has one. ipmitool keeps 4 KiB to
        itself before it writes to a file."""
        deactivate, activate = (shlex.join(self.argv("sol", what)) for what in ("deactivate", "activate"))
        return f"{deactivate} >/dev/null 2>&1; exec stdbuf -o0 {activate}"

    def on(self) -> None:
        self._chassis("on")

    def off(self) -> None:
        self._chassis("off")

    def cycle(self) -> None:
        """A BMC refuses to cycle what is off (IPMI 2.0, 28.3)."""
        self._chassis("on" if self.status() is False else "cycle")

    def status(self) -> bool | None:
        return said(self._chassis("status"))

    def _chassis(self, act: Act) -> str:
        argv = self.argv("chassis", "power", act)
        return proc.run(argv, what=f"IPMI power {act} of {self.name}", timeout=SWITCH_SECONDS).stdout


@dataclass(frozen=True)
class LabgridPower:
    """The power driver of a target in a labgrid environment file (see its documentation, "Configuration"). labgrid is
    imported when it is used."""

    name: str
    environment: Path
    target: str = "main"
    _held: dict[str, Any] = field(default_factory=dict, compare=False)

    def on(self) -> None:
        self._driver().on()

    def off(self) -> None:
        self._driver().off()

    def cycle(self) -> None:
        self._driver().cycle()

    def status(self) -> bool | None:
        """Only some of its drivers can tell."""
        get = getattr(self._driver(), "get", None)
        return bool(get()) if get is not None else None

    def _driver(self) -> Any:
        if "driver" not in self._held:
            self._held["driver"] = _labgrid(self)
        return _Translated(self.name, self._held["driver"])


class _Translated:
    """A driver of labgrid's whose errors are ours: it raises whatever its backend does."""

    def __init__(self, name: str, driver: Any) -> None:
        self._name = name
        self._driver = driver

    def __getattr__(self, act: str) -> Any:
        method = getattr(self._driver, act)

        def call() -> Any:
            try:
                return method()
            except Exception as error:
                raise InfraError(
                    f"power {act} of {self._name}: labgrid says: {error or type(error).__name__}"
                ) from error

        return call


def _labgrid(power: LabgridPower) -> Any:
    try:
        from labgrid import Environment
    except ImportError as error:
        raise UsageError(
            f"{power.name}: its power is switched by labgrid, which is not installed",
            hint="pip install 'xdna-harness[labgrid]'",
        ) from error
    try:
        target = Environment(str(power.environment)).get_target(power.target)
        if target is None:
            raise UsageError(f"{power.environment} has no target {power.target}", hint="name one of its targets")
        return target.get_driver("PowerProtocol")
    except UsageError:
        raise
    except Exception as error:  # labgrid has no common base for what it raises
        raise UsageError(
            f"{power.name}: no power driver in {power.environment}: {error or type(error).__name__}",
            hint=f"'labgrid-client -c {power.environment} power get' must work",
        ) from error


def said(output: str) -> bool | None:
    """Whether a status says on or off, by the last word of its last line."""
    words = output.split()
    return {"on": True, "off": False}.get(words[-1].lower().strip(".")) if words else None
