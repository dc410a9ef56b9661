# SPDX-License-Identifier: GPL-2.0-only
"""One machine behind ssh, for a whole run: the connection that stands now, and what the machine says of itself."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from harness.errors import HarnessError, InfraError, UsageError
from harness.formats import lab_host
from harness.formats.machine_facts import Facts
from harness.host.data import data_folder
from harness.host.leases import LeaseLost
from harness.host.remote import asked
from harness.host.ssh import BadHostKey, Connection, Guard, connect
from harness.host.ssh_config import Reach
from harness.model.lab_host import LabHost

PROBE_SECONDS = 90.0
RETRY_SECONDS = 2.0
SEND_SECONDS = 600.0
WATCHDOG_SECONDS = 60
"""How long a machine that hangs is left to itself by its watchdog."""
DUMP_SECONDS = 300
"""The same where a crash kernel is loaded: nobody feeds the watchdog while that one writes the memory down."""


class Machine:
    """Reached by ``reach``. ``back_seconds``: how long one that went away may take to answer again, firmware and all.
    ``guard`` sees each command. ``note`` tells the report what a reader should know of the machine."""

    def __init__(self, reach: Reach, guard: Guard, back_seconds: float, note: Callable[[str], None]) -> None:
        self.reach = reach
        self._guard = guard
        self.name = reach.name
        self.back_seconds = back_seconds
        self.note = note
        self.ended = False
        self.homes: set[str] = set()
        """Folders there in which sessions of this run live."""
        self.trouble: HarnessError | None = None
        """Why it did not answer when it was asked last."""
        self._connection: Connection | None = None
        self._silent_since: float | None = None
        self.hang_seconds = WATCHDOG_SECONDS
        self.facts: Facts | None = None

    @property
    def connection(self) -> Connection:
        """The one that stands, or a new one. UsageError: host key or login; InfraError: nobody answers."""
        if self._connection is None or not self._connection.alive():
            self.hang_up()
            self._connection = connect(self.reach, self._guard)
        return self._connection

    def ask(self) -> Facts:
        """What the machine says now. Errors as of :attr:`connection` and of :func:`asked`."""
        self.facts = asked(self.connection, self.name)
        self._silent_since = self.trouble = None
        return self.facts

    def again(self, seconds: float, unless: Callable[[], bool] = lambda: False) -> Facts | None:
        """A fresh connection, and what the machine says now; None when there is none in time. Who lets nobody in may be
        on his way up, and is waited for; not one with another host key, nor another's machine."""
        deadline = time.monotonic() + seconds
        self.hang_up()
        while not self.ended and not unless():
            try:
                return self.ask()
            except HarnessError as error:
                self.trouble = error
                if isinstance(error, (BadHostKey, LeaseLost)):
                    return None
                self._silent_since = self._silent_since or time.monotonic()
                self.hang_up()
            if time.monotonic() > deadline:
                return None
            time.sleep(RETRY_SECONDS)
        return None

    @property
    def away_seconds(self) -> float:
        """How long one that went away by itself may be silent: it may hang at first."""
        return self.back_seconds + self.hang_seconds

    def back(self, unless: Callable[[], bool] = lambda: False) -> Facts | None:
        """The same for one that went away by itself. A silence that somebody has waited through is not waited through
        again."""
        now = time.monotonic()
        silent = now - (self._silent_since or now)
        return self.again(max(0.0, self.away_seconds - silent), unless)

    def host(self) -> LabHost:
        """How it boots. InfraError."""
        output = self.python("probe", lab_host.HOME, lab_host.STATE)[1]
        found = lab_host.read(output)
        if found is None:
            raise InfraError(f"{self.name} does not say how it boots: {output.strip()[-300:]}")
        return found

    def root(self, script: str, seconds: float, stdin: bytes = b"") -> tuple[int, str]:
        """Run a sh script as root: status and output. InfraError."""
        facts = self.facts or self.ask()
        if facts.root is None:
            raise InfraError(f"{self.name} lets this user do nothing as root", hint="allow sudo without a password")
        quoted = script.replace("'", "'\\''")
        return self.connection.run(f"{facts.root}sh -c '{quoted}'", seconds, stdin)

    def python(self, leaf: str, *words: str) -> tuple[int, str]:
        """Run a file of harness/guest that needs nothing else there, as root: status and output. InfraError."""
        script = data_folder("harness") / "guest" / f"{leaf}.py"
        return self.root(f"exec python3 -s - {' '.join(words)}", PROBE_SECONDS, script.read_bytes())

    def do(self, what: str, script: str, seconds: float = 60.0, stdin: bytes = b"") -> str:
        """The same, but a script that says no is an InfraError that says ``what`` it was for."""
        status, output = self.root(script, seconds, stdin)
        if status != 0:
            raise InfraError(f"{self.name}: {what}: {output.strip()[-300:] or f'status {status}'}")
        return output

    def send(self, path: Path, name: str) -> None:
        """Put a file there whole or not at all, and only if it is not there yet."""
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        check = f"echo '{digest}  {name}' | sha256sum -c --status"
        if self.root(check, SEND_SECONDS)[0] == 0:
            return
        part, folder = f"{name}.part", name.rpartition("/")[0]
        script = f"mkdir -p {folder} && cat > {part} && echo '{digest}  {part}' | sha256sum -c --status"
        self.do(f"sending {name}", f"{script} && sync {part} && mv {part} {name}", SEND_SECONDS, data)

    def fetch(self, names: str, most_kib: int = 512) -> dict[str, bytes]:
        """Files there by name, as far as they can be read, of long ones the end; ``names`` are sh's patterns."""
        script = f'for f in {names}; do [ -f "$f" ] && echo "$f $(tail -c {most_kib}k "$f" | base64 -w 0)"; done; :'
        found: dict[str, bytes] = {}
        with suppress(InfraError):
            for line in self.root(script, PROBE_SECONDS)[1].splitlines():
                name, _, text = line.rpartition(" ")
                with suppress(ValueError):
                    found[name] = base64.b64decode(text, validate=True)
        return found

    def answers(self) -> bool:
        """Whether the connection carries anything, which one that was cut silently does not."""
        try:
            return self.connection.run("echo yes", 10.0)[1].strip() == "yes"
        except (InfraError, UsageError):
            self.hang_up()
            return False

    def hang_up(self) -> None:
        """Close the connection; who reads from one of its channels finds its end."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def end(self) -> None:
        """From any thread: nobody waits for it any more."""
        self.ended = True
        self.hang_up()
