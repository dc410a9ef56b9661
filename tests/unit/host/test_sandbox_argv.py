# SPDX-License-Identifier: GPL-2.0-only
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.errors import InfraError
from harness.host.proc import CommandTimeout
from harness.host.sandbox import Bind, Kind, Limits, Sandbox, SandboxSpec

LIMITS = Limits(seconds=10, memory=1000, processes=20, file_size=300, temporary=4096)
SPEC = SandboxSpec(
    build=Path("/some/build"),
    source=Path("/some/source"),
    limits=LIMITS,
    binds=(Bind(Path("/some/fresh.c"), "/src/a.c"), Bind(Path("/some/cache"), "/ccache", writable=True)),
    env={"A": "1"},
)
BWRAP: tuple[Kind, ...] = ("bwrap", "bwrap-root")


def argv(kind: Kind) -> list[str]:
    sandbox = Sandbox(kind, "", links=(("bin", "usr/bin"),), folders=("lib",), etc=("/etc/alternatives",))
    return sandbox.argv(["make", "-j2"], SPEC)


def pairs(words: Sequence[str], option: str, count: int) -> list[tuple[str, ...]]:
    return [tuple(words[i + 1 : i + 1 + count]) for i, word in enumerate(words) if word == option]


@pytest.mark.parametrize("kind", BWRAP)
def test_only_the_build_folder_and_what_was_said_can_be_written(kind: Kind) -> None:
    words = argv(kind)
    assert pairs(words, "--bind", 2) == [("/some/build", "/build"), ("/some/cache", "/ccache")]
    assert ("/some/source", "/src") in pairs(words, "--ro-bind", 2)
    assert pairs(words, "--remount-ro", 1) == [("/dev",), ("/",)]


@pytest.mark.parametrize("kind", BWRAP)
def test_later_binds_cover_the_source(kind: Kind) -> None:
    bound = [inside for _, inside in pairs(argv(kind), "--ro-bind", 2)]
    assert bound.index("/src") < bound.index("/src/a.c")


@pytest.mark.parametrize("kind", BWRAP)
def test_of_the_host_there_is_what_a_compiler_needs(kind: Kind) -> None:
    words = argv(kind)
    shown = {host for host, _ in pairs(words, "--ro-bind", 2)} - {"/some/source", "/some/fresh.c"}
    assert shown == {"/usr", "/lib", "/etc/alternatives"}
    assert pairs(words, "--symlink", 2) == [("usr/bin", "/bin")]


@pytest.mark.parametrize("kind", BWRAP)
def test_it_dies_with_us_and_has_no_terminal_environment_or_network(kind: Kind) -> None:
    words = argv(kind)
    assert {"--die-with-parent", "--new-session", "--clearenv"} <= set(words)
    assert "--unshare-all" in words or {"--unshare-net", "--unshare-pid", "--unshare-ipc"} <= set(words)
    assert pairs(words, "--setenv", 2)[-1] == ("A", "1")


def test_an_ordinary_user_gets_a_user_namespace_in_which_it_is_not_root() -> None:
    words = argv("bwrap")
    assert {"--unshare-user", "--disable-userns"} <= set(words)
    assert pairs(words, "--uid", 1) == [("1000",)]
    assert pairs(words, "--cap-drop", 1) == [("ALL",)]
    assert "--cap-add" not in words


def test_root_becomes_somebody_without_privileges_before_the_command_runs() -> None:
    words = argv("bwrap-root")
    inside = words[words.index("--") + 1 :]
    assert inside[:3] == ["setpriv", "--reuid", "65533"]
    assert {"--clear-groups", "--bounding-set=-all", "--no-new-privs"} <= set(inside)
    assert "--unshare-user" not in words


@pytest.mark.parametrize("kind", [*BWRAP, "none"])
def test_the_limits_stand_right_before_the_command(kind: Kind) -> None:
    words = argv(kind)
    end = ["--as=1000", "--nproc=20", "--fsize=300", "--core=0", "--", "make", "-j2"]
    assert words[-len(end) :] == end
    assert "choom" in words
    if kind != "none":
        assert pairs(words, "--size", 1) == [("4096",), ("4096",)]


def test_without_confinement_paths_are_the_hosts() -> None:
    plain, confined = Sandbox("none", "why"), Sandbox("bwrap", "")
    assert (plain.source_path(SPEC), plain.build_path(SPEC)) == ("/some/source", "/some/build")
    assert (confined.source_path(SPEC), confined.build_path(SPEC)) == ("/src", "/build")
    assert plain.describe() == "why"
    assert not plain.isolated


def test_the_environment_is_only_ours() -> None:
    assert set(Sandbox("bwrap", "").environment(SPEC)) == {"PATH", "HOME", "LC_ALL", "TZ", "A"}
    assert argv("none")[:2] == ["env", "-i"]


def test_a_busy_machine_is_no_reason_to_run_unconfined(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(sandbox: Sandbox) -> None:
        raise CommandTimeout("trying the sandbox", 20.0, None)

    def refused(sandbox: Sandbox) -> None:
        raise InfraError("no user namespaces")

    monkeypatch.setattr(Sandbox, "probe", refused)
    assert not Sandbox.detect().isolated
    monkeypatch.setattr(Sandbox, "probe", busy)
    with pytest.raises(CommandTimeout):
        Sandbox.detect()
