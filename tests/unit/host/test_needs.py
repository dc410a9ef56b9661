# SPDX-License-Identifier: GPL-2.0-only
"""What the machine must have, and what is said when it has not."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.host import needs, proc
from harness.host.needs import NEEDS, Need, Purpose


def test_kinds_of_things() -> None:
    assert [Need("p", thing).kind for thing in ("make", "gelf.h", "DBD::SQLite")] == [
        "program",
        "header",
        "perl",
    ]


def test_each_package_is_named_once() -> None:
    nothing = needs.absent((need for purpose in Purpose for need in NEEDS[purpose]), lambda _: False)
    assert len(nothing) == len(set(nothing))
    assert {"libelf-dev", "libssl-dev", "bubblewrap", "public-inbox"} <= set(nothing)
    assert needs.absent(NEEDS[Purpose.BUILD], lambda _: True) == []


def test_a_header_is_looked_for_not_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "_INCLUDES", (tmp_path,))
    need = Need("libssl-dev", "openssl/ssl.h")
    assert not needs.present(need)
    (tmp_path / "openssl").mkdir()
    (tmp_path / "openssl/ssl.h").write_text("")
    assert needs.present(need)


def test_programs_and_perl_modules() -> None:
    assert needs.present(Need("x", "sh"))
    assert not needs.present(Need("x", "no-such-program-here"))
    assert not needs.present(Need("x", "No::Such::Module"))


def test_an_ordinary_user_gets_one_line_to_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(UsageError) as caught:
        needs.install(["bc", "flex"], tmp_path / "log")
    assert caught.value.hint == "sudo apt-get install bc flex"


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Records what would be run; apt-get exists."""
    calls: list[tuple[str, ...]] = []

    def run(argv: list[str], **_: object) -> proc.Completed:
        calls.append(tuple(argv))
        known = "  Candidate: 1\n" if argv[0] == "apt-cache" else ""
        return proc.Completed(tuple(argv), 0, known, "")

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda name, path=None: f"/usr/bin/{name}")
    monkeypatch.setattr(proc, "run", run)
    return calls


def test_root_installs_without_recommends(
    ran: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs, "_index_age", lambda: 60.0)
    needs.install(["bc"], tmp_path / "log")
    assert [argv[0] for argv in ran] == ["apt-cache", "apt-get"]
    assert {"install", "--no-install-recommends", "bc"} <= set(ran[1])


@pytest.mark.parametrize(
    ("age", "packages"), [(float("inf"), ["bc"]), (2 * 24 * 3600.0, ["bc"]), (60.0, ["bc", "flex"])]
)
def test_old_lists_or_unknown_packages_ask_for_an_update(
    ran: list[tuple[str, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    age: float,
    packages: list[str],
) -> None:
    monkeypatch.setattr(needs, "_index_age", lambda: age)
    needs.install(packages, tmp_path / "log")
    assert [argv[-1] for argv in ran if "update" in argv or "install" in argv] == ["update", packages[-1]]


def test_nothing_missing_runs_nothing(ran: list[tuple[str, ...]], tmp_path: Path) -> None:
    needs.install([], tmp_path / "log")
    assert ran == []
