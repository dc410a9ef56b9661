# SPDX-License-Identifier: GPL-2.0-only
"""Whose business it is when a login fails; paramiko's errors are played."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import paramiko
import pytest

from harness.errors import HarnessError, InfraError, UsageError
from harness.host import ssh
from harness.host.ssh import BadHostKey, connect
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
