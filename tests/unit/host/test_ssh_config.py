# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.host.ssh_config import CONFIG, Reach, reach

TEXT = """\
Host npu
    HostName 192.0.2.7
    Port 2222
    User tester
    IdentityFile /keys/one
    IdentitiesOnly yes
    UserKnownHostsFile /keys/known
    GlobalKnownHostsFile /keys/all
Host far
    ProxyJump a@first,second:22
Host direct
    ProxyJump none
Host pipe
    ProxyCommand nc %h %p
"""


def asked(tmp_path: Path, target: str, text: str = TEXT) -> Reach:
    path = tmp_path / "config"
    path.write_text(text)
    return reach(target, {CONFIG: str(path)})


def test_what_the_users_configuration_says(tmp_path: Path) -> None:
    known = (Path("/keys/known"), Path("/keys/all"))
    assert asked(tmp_path, "npu") == Reach("npu", "192.0.2.7", 2222, "tester", ("/keys/one",), True, "", known)


def test_a_user_in_the_target_wins(tmp_path: Path) -> None:
    assert asked(tmp_path, "root@npu").user == "root"


def test_a_host_that_is_not_configured(tmp_path: Path) -> None:
    found = asked(tmp_path, "192.0.2.9")
    assert (found.host, found.port, found.user, found.proxy) == ("192.0.2.9", 22, getpass.getuser(), "")
    assert found.known_hosts[0] == Path("~/.ssh/known_hosts").expanduser()


def test_jump_hosts_are_left_to_ssh_itself(tmp_path: Path) -> None:
    words = f"ssh -o BatchMode=yes -F {tmp_path / 'config'} -J a@first -W '[far]:22' -- second:22"
    assert asked(tmp_path, "far").proxy == words
    assert asked(tmp_path, "direct").proxy == ""
    assert asked(tmp_path, "pipe").proxy == "nc pipe 22"


def test_a_configuration_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        reach("npu", {CONFIG: str(tmp_path / "none")})
    with pytest.raises(UsageError, match="config"):
        asked(tmp_path, "npu", "Host npu\n  Port twenty-two\n")
    with pytest.raises(UsageError, match="config"):
        asked(tmp_path, "npu", "nonsense\n")
