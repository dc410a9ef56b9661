# SPDX-License-Identifier: GPL-2.0-only
"""One ssh connection: commands with a limit, and a channel for the agent.

Host keys are enforced; the user's keys and agent are tried, a password is never asked.
"""

from __future__ import annotations

import logging
import re
import shlex
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, Protocol, cast

import paramiko

from harness.errors import HarnessError, InfraError, UsageError
from harness.host import fence
from harness.host.leases import LeaseLost
from harness.host.ssh_config import Reach

CONNECT_SECONDS = 15.0
AUTH_SECONDS = 30.0
KEEPALIVE_SECONDS = 10
NO_KEYS = "No authentication methods available"
"""What paramiko says, without a class of its own, when there is no key to try."""
CUT_SHORT = ("transport shut down or saw EOF", "Authentication timeout")
"""What it says, in the class of a refusal, when a login did not come to its end."""
LOOK_SECONDS = 1.0
"""How long one of a command's streams is waited for, while the other may fill."""
_PIECE = 1 << 15
_FENCE = re.compile(rf"^{fence.WORD}.*", re.M)


class Guard(Protocol):
    """Sees each sh script before it goes and may change it; raises when nothing may go there any more."""

    def guard(self, script: str) -> str: ...

    def lose(self, why: str) -> None:
        """The machine itself has refused us: nothing may go there from now on."""


class Unguarded:
    """For a machine that nobody else can have."""

    def guard(self, script: str) -> str:
        return script

    def lose(self, why: str) -> None:
        """There is nothing to lose."""


_been_there: set[Reach] = set()
"""Where this process has logged in before: name and key are right there."""

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # else it prints tracebacks of what we report


class Connection:
    """An open connection. Raises InfraError when it breaks."""

    def __init__(self, client: paramiko.SSHClient, name: str, guard: Guard) -> None:
        transport = client.get_transport()
        assert transport is not None
        self._client = client
        self._transport = transport
        self.name = name
        self.guard = guard
        transport.set_keepalive(KEEPALIVE_SECONDS)

    def start(self, script: str) -> paramiko.Channel:
        """Start a sh script; its standard streams are the channel."""
        script = self.guard.guard(script)
        try:
            channel = self._transport.open_session(timeout=CONNECT_SECONDS)
            channel.settimeout(CONNECT_SECONDS)
            channel.exec_command(f"exec sh -c {shlex.quote(script)}")
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise InfraError(f"{self.name}: the ssh connection broke: {_said(error)}", transient=True) from error
        return channel

    def run(self, script: str, seconds: float, stdin: bytes = b"") -> tuple[int, str]:
        """Run a sh script to its end: status and output. What it says on standard error is no data: it only stands
        behind the output of a script that failed."""
        deadline = time.monotonic() + seconds
        channel = self.start(script)
        try:
            channel.settimeout(seconds)
            channel.sendall(stdin)
            channel.shutdown_write()
            output, errors = _streams(channel, deadline)
            if not channel.status_event.wait(max(0.1, deadline - time.monotonic())):
                raise TimeoutError
            status = channel.recv_exit_status()
            return self._done(status, _together(output, errors) if status else output.decode(errors="replace"))
        except TimeoutError as error:
            what = script.strip().splitlines()[0][:60]
            raise InfraError(f"{self.name}: {what!r} did not end within {seconds:.0f} s", transient=True) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise InfraError(f"{self.name}: the ssh connection broke: {_said(error)}", transient=True) from error
        finally:
            channel.close()

    def _done(self, status: int, output: str) -> tuple[int, str]:
        if status != fence.REFUSED or not (said := _FENCE.search(output)):
            return status, output
        why = f"{self.name} refuses our commands: {said[0].strip()}"
        if fence.OVERTAKEN not in said[0]:
            raise InfraError(why, hint="is its disk whole? see /var/lib/xdna-harness and /run/xdna-harness there")
        self.guard.lose(why)
        raise LeaseLost(why, hint="end one of both runs")

    def alive(self) -> bool:
        """Whether the connection stands, as far as this end knows."""
        return self._transport.is_active()

    def close(self) -> None:
        """From any thread; who reads from a channel finds its end."""
        self._client.close()


def _streams(channel: paramiko.Channel, deadline: float) -> tuple[bytes, bytes]:
    """Standard output and standard error to their end. One that nobody reads would stop the other. TimeoutError."""
    output, errors = bytearray(), bytearray()
    piece: bytes | None = None
    while piece != b"":
        if (left := deadline - time.monotonic()) <= 0:
            raise TimeoutError
        channel.settimeout(max(0.1, min(LOOK_SECONDS, left)))
        piece = None
        with suppress(TimeoutError):
            piece = channel.recv(_PIECE)
            output += piece
        while channel.recv_stderr_ready():
            errors += channel.recv_stderr(_PIECE)
    while more := channel.recv_stderr(_PIECE):
        errors += more
    return bytes(output), bytes(errors)


def _together(output: bytes, errors: bytes) -> str:
    gap = b"\n" if output and errors and not output.endswith(b"\n") else b""
    return (output + gap + errors).decode(errors="replace")


class BadHostKey(UsageError):
    """It may be another machine: nobody goes there before a person has looked."""


class _Refuse(paramiko.MissingHostKeyPolicy):
    """Nobody is there to ask whether a new key may be believed."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> NoReturn:
        raise BadHostKey(
            f"{self._reach.name}: its host key is unknown: {key.get_name()} {key.fingerprint}",
            hint=f"log in once with ssh and compare it, or add it to {self._reach.known_hosts[0]}",
        )


def connect(reach: Reach, guard: Guard | None = None) -> Connection:
    """Log in. UsageError: host key, login or name are wrong; InfraError: nobody answers, or no one lets us in who did
    before: a resolver that stumbles, a machine that is on its way up or down, are no mistake of the user's."""
    client = paramiko.SSHClient()
    try:
        for path in reach.known_hosts:
            if path.exists():
                client.load_system_host_keys(str(path))
        client.set_missing_host_key_policy(_Refuse(reach))
        client.connect(
            reach.host,
            reach.port,
            reach.user,
            key_filename=cast(str, [name for name in reach.identities if Path(name).exists()]),  # the stub lacks lists
            look_for_keys=not reach.own_only,
            sock=paramiko.ProxyCommand(reach.proxy) if reach.proxy else None,
            timeout=CONNECT_SECONDS,
            banner_timeout=CONNECT_SECONDS,
            auth_timeout=AUTH_SECONDS,
            channel_timeout=CONNECT_SECONDS,
        )
        _been_there.add(reach)
        return Connection(client, reach.name, guard or Unguarded())
    except BaseException as error:
        client.close()
        if isinstance(error, HarnessError) or not isinstance(error, Exception):
            raise
        raise _told(error, reach) from error


def _told(error: Exception, reach: Reach) -> Exception:
    """The same in words for who must act; what we do not know stays as it is."""
    if isinstance(error, paramiko.BadHostKeyException):
        return BadHostKey(
            f"{reach.name}: its host key has changed: {error.key.get_name()} {error.key.fingerprint}",
            hint=f"if it was installed anew, take the old key out of {reach.known_hosts[0]}; else do not trust it",
        )
    if reach not in _been_there and (mistake := _mistake(error, reach)):
        return mistake
    if isinstance(error, (paramiko.SSHException, EOFError, OSError)):
        way = f" through {reach.proxy!r}" if reach.proxy else ""
        return InfraError(
            f"{reach.name}: no ssh to {reach.host} port {reach.port}{way}: {_said(error)}",
            hint=f"see whether it is up: 'ssh {reach.name} true'",
            transient=True,
        )
    return error


def _mistake(error: Exception, reach: Reach) -> UsageError | None:
    """What the user must mend before anybody can get there; None: that cannot be told from a lab that stumbles."""
    if isinstance(error, paramiko.PasswordRequiredException):
        return UsageError(f"{reach.name}: a key has a passphrase", hint="give it to an ssh-agent: 'ssh-add'")
    refused = isinstance(error, paramiko.AuthenticationException) and not any(s in str(error) for s in CUT_SHORT)
    if refused or _said(error) == NO_KEYS:
        return UsageError(
            f"{reach.name}: {reach.user} may not log in with a key ({_said(error)})",
            hint=f"'ssh {reach.name} true' must work without a password",
        )
    if isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN:
        return UsageError(f"{reach.name}: no such host: {reach.host}", hint="mend the name, or ~/.ssh/config")
    return None


def _said(error: Exception) -> str:
    """The first line of what an error says; paramiko's are empty at times."""
    with suppress(IndexError):
        return str(error).splitlines()[0]
    return type(error).__name__
