# SPDX-License-Identifier: GPL-2.0-only
"""What the private apt is told, and what nobody is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.host.apt_config import SUITES, configuration, redact, sources_list

SYSTEM = """APT::Update::Post-Invoke:: "rm -f /var/cache/apt/archives/*.deb";
Dir::State "var/lib/apt";
Acquire::http::Proxy "http://proxy.example:3128/";
Acquire::AllowInsecureRepositories "1";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "true";
"""


def test_only_the_way_to_servers_is_taken_over() -> None:
    lines = configuration(Path("/store/apt"), SYSTEM).splitlines()
    assert 'Acquire::http::Proxy "http://proxy.example:3128/";' in lines
    assert not [line for line in lines if "Post-Invoke" in line or "IndexTargets" in line or "var/lib" in line]


def test_signatures_are_always_checked() -> None:
    text = configuration(Path("/store/apt"), SYSTEM)
    assert 'Acquire::AllowInsecureRepositories "1"' not in text
    assert 'Acquire::AllowInsecureRepositories "false";' in text
    assert "Signed-By: /k.gpg" in sources_list("http://host/debian", Path("/k.gpg"))


def test_the_sources_are_ours_alone() -> None:
    lines = configuration(Path("/store/apt"), SYSTEM).splitlines()
    assert 'Dir::Etc::sourcelist "/dev/null";' in lines
    assert 'Dir::Etc::sourceparts "/store/apt/sources";' in lines
    assert f"Suites: {' '.join(SUITES)}" in sources_list("http://host/debian", Path("/k.gpg"))


def test_a_mirror_cannot_bring_lines_of_its_own() -> None:
    with pytest.raises(UsageError, match="space"):
        sources_list("http://host/debian\nTrusted: yes", Path("/k.gpg"))


@pytest.mark.parametrize(
    "text",
    [
        "Failed to fetch http://mirror.example/debian/dists/trixie/InRelease",
        "Could not resolve 'mirror.example'",
        "Could not connect to mirror.example:80 (192.0.2.7). - connect (111: Connection refused)",
        "Unable to connect to mirror.example:http: [IP: 192.0.2.7 80]",
        "mirror.example said no",
    ],
)
def test_no_server_is_named(text: str) -> None:
    shown = redact(text, {"mirror.example"})
    assert "mirror.example" not in shown
    assert "192.0.2.7" not in shown
    assert "<mirror>" in shown


def test_an_unknown_server_is_not_named_either() -> None:
    assert "elsewhere" not in redact("Failed to fetch https://elsewhere.example/x")
    assert "elsewhere" not in redact("Could not resolve 'elsewhere.example'")
