# SPDX-License-Identifier: GPL-2.0-only
"""Debian's order of versions, and apt's own words."""

from __future__ import annotations

from itertools import pairwise

import pytest

from harness.formats.debian import (
    Package,
    choose_mirror,
    choose_mirror_by_suite,
    newest_first,
    parse_madison,
    parse_uris,
    version_key,
)

IN_ORDER = [
    "1.0~rc1-1",
    "1.0-1~bpo13+1",
    "1.0-1",
    "1.0-1+b1",
    "1.0.1-1",
    "1.2-1",
    "1.10-1",
    "1.10a-1",
    "1.10+x-1",
]


@pytest.mark.parametrize(("older", "newer"), list(pairwise(IN_ORDER)))
def test_order_of_versions(older: str, newer: str) -> None:
    assert version_key(older) < version_key(newer)


def test_an_epoch_wins() -> None:
    assert newest_first(["9.9-1", "1:0.1-1", "9.10-1", "9.9-1"]) == ["1:0.1-1", "9.10-1", "9.9-1"]


def test_madison_tells_packages_from_sources() -> None:
    text = (
        "linux-source-7.3 | 7.3.4-1~bpo13+1 | http://host/debian trixie-backports/main amd64 Packages\n"
        "     linux | 7.3.4-1~bpo13+1 | http://host/debian trixie-backports/main Sources\n"
    )
    assert parse_madison(text) == [
        ("linux-source-7.3", "7.3.4-1~bpo13+1", False),
        ("linux", "7.3.4-1~bpo13+1", True),
    ]


def test_uris_become_packages() -> None:
    text = (
        "Reading package lists...\n"
        "'http://host/pool/q/qemu_11.1.3_amd64.deb' qemu-x_1%3a11.1.3+ds-1~bpo13+1_amd64.deb 9 SHA256:00\n"
        "'http://host/pool/a/adduser_3.152_all.deb' adduser_3.152_all.deb 9 SHA256:00\n"
    )
    packages = parse_uris(text)
    assert packages == [
        Package("adduser", "3.152", "all"),
        Package("qemu-x", "1:11.1.3+ds-1~bpo13+1", "amd64"),
    ]
    assert packages[1].file == "qemu-x_1%3a11.1.3+ds-1~bpo13+1_amd64.deb"


SECURITY = "http://host/debian-security/\tDebian\tDebian-Security\tmain"
MAIN = "http://host/debian/\tDebian\tDebian\tmain"
OTHER = "http://other/debian/\tDocker\tDocker CE\tmain"


def test_the_mirror_is_the_main_archive() -> None:
    assert choose_mirror("\n".join([SECURITY, OTHER, MAIN])) == "http://host/debian/"


@pytest.mark.parametrize("text", ["", SECURITY, OTHER, "http://host/debian/\tDebian\tDebian\tcontrib"])
def test_no_mirror_rather_than_a_wrong_one(text: str) -> None:
    assert choose_mirror(text) is None


def printed(base: str, suite: str, component: str = "main") -> str:
    """Two of the lines of apt-get update --print-uris."""
    return (
        f"'{base}dists/{suite}/InRelease' host_InRelease 0 \n"
        f"'{base}dists/{suite}/{component}/binary-amd64/Packages.xz' host_Packages 0 \n"
    )


def test_before_the_first_update_the_suites_name_decides() -> None:
    others = printed("http://host/debian-security/", "bookworm-security") + printed("http://other/", "nodistro")
    others += printed("https://docker/linux/debian/", "bookworm", "stable")
    assert choose_mirror_by_suite(others) is None
    assert choose_mirror_by_suite(others + printed("http://host/debian/", "trixie-updates")) == "http://host/debian/"
