# SPDX-License-Identifier: GPL-2.0-only
"""Whose business it is when a login fails: paramiko's errors are played. What a command says, by a real connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import paramiko
import pytest

from harness.errors import HarnessError, InfraError, UsageError
from harness.host import fence, ssh
from harness.host.leases import LeaseLost
from harness.host.ssh import BadHostKey, Connection, Unguarded, connect
from harness.host.ssh_config import Reach

BOX = Reach("box", "box.lab", 22, "root", known_hosts=(Path("known_hosts"),))
KEY = paramiko.ECDSAKey.generate()
NO_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
REFUSED = paramiko.AuthenticationException("Authentication failed.")
OTHER_KEY = paramiko.BadHostKeyException("box", KEY, KEY)


class Client(paramiko.SSHClient):
    """Fails as it is told to, or lets us in."""

    error: Exception | None = None

    def connect(self, *_: Any, **__: Any) -> None:
        if self.error is not None:
            raise self.error

    def get_transport(self) -> Any:
        return paramiko.Transport(socket.socketpair()[0])


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> type[Client]:
    monkeypatch.setattr(paramiko, "SSHClient", Client)
    monkeypatch.setattr(Client, "error", None)
    monkeypatch.setattr(ssh, "_been_there", set())
    return Client


def told(client: type[Client], error: Exception) -> HarnessError:
    client.error = error
    with pytest.raises(HarnessError) as found:
        connect(BOX)
    return found.value


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        paramiko.AuthenticationException("Authentication failed: transport shut down or saw EOF"),
        paramiko.AuthenticationException("Authentication timeout."),
        ConnectionRefusedError(111, "Connection refused"),
    ],
)
def test_a_lab_that_stumbles_is_no_mistake(error: Exception, client: type[Client]) -> None:
    found = told(client, error)
    assert isinstance(found, InfraError)
    assert found.transient
    assert str(error.args[-1]) in found.message


@pytest.mark.parametrize("error", [NO_NAME, REFUSED, paramiko.SSHException(ssh.NO_KEYS)])
def test_what_is_refused_at_first_is_the_users_to_mend(error: Exception, client: type[Client]) -> None:
    assert isinstance(told(client, error), UsageError)
    client.error = None
    connect(BOX).close()
    assert isinstance(told(client, error), InfraError), "name and key were right"
    other = Reach("other", "other.lab", 22, "root")
    with pytest.raises(UsageError):
        connect(other)


def test_another_host_key_is_never_waited_for(client: type[Client]) -> None:
    connect(BOX).close()
    assert isinstance(told(client, OTHER_KEY), BadHostKey)


class Says(paramiko.ServerInterface):
    """Lets everybody in; each command says the same on both streams."""

    output, errors, status = b"", b"", 0

    def check_auth_none(self, username: str) -> int:
        return paramiko.common.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self._run, args=(channel,), daemon=True).start()
        return True

    def _run(self, channel: paramiko.Channel) -> None:
        channel.recv(1)  # the end of its input
        channel.sendall_stderr(self.errors)
        channel.sendall(self.output)
        channel.send_exit_status(self.status)
        channel.close()


@pytest.fixture
def there() -> Iterator[tuple[Connection, Says]]:
    ours, its = socket.socketpair()
    says, server, client = Says(), paramiko.Transport(its), paramiko.Transport(ours)
    server.add_server_key(KEY)
    server.start_server(threading.Event(), says)
    client.start_client(timeout=30)
    client.auth_none("root")
    lean = SimpleNamespace(get_transport=lambda: client, close=client.close)
    yield Connection(cast(paramiko.SSHClient, lean), "box", Unguarded()), says
    client.close()
    server.close()


def test_what_stands_on_standard_error_is_no_data(there: tuple[Connection, Says]) -> None:
    connection, says = there
    says.output, says.errors = b"1\n", b"sudo: unable to resolve host box\n"
    assert connection.run("cat /sys/kernel/kexec_loaded", 30) == (0, "1\n")
    says.status = 1
    assert connection.run("false", 30) == (1, "1\nsudo: unable to resolve host box\n")
    says.output = b"no end of line"
    assert connection.run("false", 30)[1].splitlines() == ["no end of line", "sudo: unable to resolve host box"]


def test_much_on_standard_error_stops_nothing(there: tuple[Connection, Says]) -> None:
    connection, says = there
    says.output, says.errors = b"done", b"x" * (5 << 20)
    assert connection.run("dracut", 60) == (0, "done")


def test_who_was_overtaken_is_told_whatever_else_is_said(there: tuple[Connection, Says]) -> None:
    connection, says = there
    says.status, says.errors = fence.REFUSED, b"sudo: unable to resolve host box\n"
    says.output = f"a greeting\n{fence.WORD} a later holder has this machine: runs/x\n".encode()
    with pytest.raises(LeaseLost, match=r"refuses our commands: xdna-fence: a later holder has this machine: runs/x$"):
        connection.run("true", 30)
    says.output = b"a status of the script's own\n"
    assert connection.run("true", 30)[0] == fence.REFUSED


class Leased(Unguarded):
    lost = ""

    def lose(self, why: str) -> None:
        self.lost = why


def test_a_machine_that_refuses_us_is_lost_and_one_with_a_broken_disk_is_not(there: tuple[Connection, Says]) -> None:
    connection, says = there
    says.status = fence.REFUSED
    for said, lost in (
        ("a later holder has this machine: anna", True),
        ("cannot write /run/xdna-harness/fence", False),
    ):
        lease = connection.guard = Leased()
        says.output = f"{fence.WORD} {said}\n".encode()
        with pytest.raises(InfraError, match=f"box refuses our commands: {fence.WORD} {said}") as refused:
            connection.run("true", 30)
        assert isinstance(refused.value, LeaseLost) is bool(lease.lost) is lost
    says.output = b"what a script of ours says"
    assert connection.run("exit 76", 30) == (fence.REFUSED, "what a script of ours says")
