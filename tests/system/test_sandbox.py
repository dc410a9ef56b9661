# SPDX-License-Identifier: GPL-2.0-only
"""The sandbox against commands that mean harm, with the real bubblewrap."""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import HarnessError, InfraError
from harness.host import proc
from harness.host.sandbox import LINK_PLUGINS, ROOT_USER, Kind, Limits, Sandbox, SandboxSpec

ORDINARY = 65532
"""A user of no consequence, which plays the ordinary user where the tests run as root."""


class Box:
    """A sandbox of one kind, with a build and a source folder, and no waiting."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.sandbox = Sandbox.of_host(kind)
        for name in ("build", "source"):
            (folder / name).mkdir()
        (folder / "source" / "file").write_text("source")
        (folder / "source").chmod(0o777)  # so that nothing but the read-only mount protects it
        (folder / "source" / "file").chmod(0o666)
        self.prefix: list[str] = []
        self.user = ROOT_USER if kind == "bwrap-root" else os.getuid()
        if kind == "bwrap" and os.getuid() == 0:
            self.user = ORDINARY
            user = str(ORDINARY)
            self.prefix = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"]
            os.chown(folder / "build", ORDINARY, ORDINARY)
        self.sandbox.own(folder / "build")

    def spec(self, limits: Limits) -> SandboxSpec:
        return SandboxSpec(self.folder / "build", limits, source=self.folder / "source")

    def argv(self, script: str, limits: Limits) -> list[str]:
        return [*self.prefix, *self.sandbox.argv(["sh", "-c", script], self.spec(limits))]

    def run(self, script: str, limits: Limits | None = None) -> proc.Completed:
        limits = limits or Limits(seconds=20, disk_reserve=0)
        return proc.run(
            self.argv(script, limits), what="the script", timeout=limits.seconds, check=False, env=os.environ
        )


@pytest.fixture(params=["bwrap-root", "bwrap"])
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    kind: Kind = request.param
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    if kind == "bwrap-root" and os.getuid() != 0:
        pytest.skip("we are not root")
    with tempfile.TemporaryDirectory(prefix="xdna-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        box = Box(kind, folder)
        tried = box.run("true")
        if tried.status != 0:
            pytest.skip(f"{kind} does not work here: {tried.stderr.strip()}")
        yield box


def test_nm_and_ar_find_no_plugins(box: Box) -> None:
    if not LINK_PLUGINS.is_dir() or not any(LINK_PLUGINS.iterdir()):
        pytest.skip("binutils has no plugins here")
    listed = box.run(f"ls -A {LINK_PLUGINS}")
    assert (listed.status, listed.stdout) == (0, "")
    assert box.run(f"touch {LINK_PLUGINS}/own.so").status != 0


def running(marker: str) -> list[int]:
    """The host's processes with this word in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def wait_until_gone(marker: str) -> list[int]:
    deadline = time.monotonic() + 5
    while (left := running(marker)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


@pytest.fixture
def marker() -> str:
    """A time to sleep that no other process sleeps."""
    return f"62.{time.time_ns()}"


def test_it_writes_to_its_build_folder_as_somebody_without_consequence(box: Box) -> None:
    done = box.run("pwd; cat /src/file; echo made > x; chmod 4755 x; id -u")
    assert done.stdout.splitlines()[0] == "/build"
    assert "source" in done.stdout
    made = (box.folder / "build" / "x").stat()
    assert made.st_uid == box.user != 0
    assert done.stdout.splitlines()[-1] != "0"


@pytest.mark.parametrize("path", ["/src/x", "/src/file", "/etc/x", "/usr/x", "/x", "/dev/x", "/proc/sys/kernel/printk"])
def test_it_cannot_write_anywhere_else(box: Box, path: str) -> None:
    done = box.run(f"echo 7 > {path}")
    assert done.status != 0
    assert (box.folder / "source" / "file").read_text() == "source"


def test_it_cannot_reach_a_server_on_the_host(box: Box) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = f"bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}'"
        outside = subprocess.run(["sh", "-c", script], check=False, timeout=20)
        assert outside.returncode == 0, "the control did not reach the server either"
        assert box.run(script).status != 0


def test_it_cannot_read_home_or_etc(box: Box) -> None:
    with tempfile.NamedTemporaryFile(dir=Path.home(), prefix=".xdna-test-") as secret:
        secret.write(b"secret")
        secret.flush()
        Path(secret.name).chmod(0o644)
        assert box.run(f"cat {shlex.quote(secret.name)}").status != 0
    assert box.run("cat /etc/passwd || cat /etc/hostname").status != 0
    assert box.run(f"ls {box.folder}").status != 0


def test_it_has_none_of_our_environment(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDNA_SECRET", "geheim")
    assert "geheim" not in box.run("env").stdout


def test_it_cannot_see_the_hosts_processes(box: Box, marker: str) -> None:
    with subprocess.Popen(["sleep", marker]) as host:
        try:
            seen = box.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '; echo; ls -d /proc/[0-9]* | wc -l")
        finally:
            host.kill()
    assert marker not in seen.stdout
    assert int(seen.stdout.split()[-1]) < 12


def test_it_has_no_privileges_and_cannot_get_any(box: Box) -> None:
    done = box.run("grep -E '^Cap(Eff|Prm|Bnd|Amb)|^NoNewPrivs' /proc/self/status; mount -t tmpfs x /tmp; chown 0 .")
    words = done.stdout.split()
    assert words[1::2] == ["0000000000000000"] * 4 + ["1"]
    assert done.status != 0


def test_the_whole_tree_ends_at_the_time_limit(box: Box, marker: str) -> None:
    with pytest.raises(proc.CommandTimeout):
        box.run(f"setsid sleep {marker} & sleep {marker}", Limits(seconds=1, disk_reserve=0))
    assert wait_until_gone(marker) == []


def test_it_ends_with_us(box: Box, marker: str) -> None:
    argv = box.argv(f"setsid sleep {marker} & sleep {marker}", Limits(seconds=60, disk_reserve=0))
    with subprocess.Popen(["bash", "-c", f"{shlex.join(argv)} & wait"]) as parent:
        deadline = time.monotonic() + 10
        while len(running(marker)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        started = len(running(marker))
        parent.send_signal(signal.SIGKILL)
    assert started >= 2
    assert wait_until_gone(marker) == []


def test_a_fork_bomb_ends_in_an_error(box: Box) -> None:
    done = box.run(
        "i=0; while [ $i -lt 300 ]; do sleep 5 & i=$((i+1)); done; echo survived",
        Limits(seconds=20, disk_reserve=0, processes=50),
    )
    assert "fork" in done.stderr
    assert "survived" not in done.stdout


def test_a_file_without_end_ends_in_an_error(box: Box) -> None:
    box.run("yes > big", Limits(seconds=20, disk_reserve=0, file_size=1 << 20))
    assert (box.folder / "build" / "big").stat().st_size <= 1 << 20


def test_memory_without_end_ends_in_an_error(box: Box) -> None:
    done = box.run("tail < /dev/zero", Limits(seconds=20, disk_reserve=0, memory=100 << 20))
    assert done.status != 0
    assert "memory" in done.stderr


@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm"])
def test_temporary_files_have_a_limit(box: Box, folder: str) -> None:
    done = box.run(f"head -c 3000000 /dev/zero > {folder}/x", Limits(seconds=20, disk_reserve=0, temporary=1 << 20))
    assert "No space left" in done.stderr


def test_a_full_disk_ends_it(box: Box) -> None:
    if box.prefix:
        pytest.skip("runs as another user, without our watch")
    with pytest.raises(InfraError, match="MiB are free"):
        box.sandbox.run(["sleep", "20"], box.spec(Limits(seconds=30, disk_reserve=1 << 60)), what="sleeping")


def test_the_best_way_is_found_by_trying() -> None:
    found = Sandbox.detect()
    if not found.isolated:
        pytest.skip(found.reason)
    assert found.kind == ("bwrap-root" if os.getuid() == 0 else "bwrap")
    found.probe()


def test_without_bubblewrap_it_says_that_nothing_is_confined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = Sandbox.detect()
    assert not found.isolated
    assert found.describe().startswith("not sandboxed:")
    assert "bwrap" in found.describe()


def test_without_confinement_the_limits_still_hold(tmp_path: Path) -> None:
    spec = SandboxSpec(tmp_path, Limits(seconds=20, disk_reserve=0, file_size=1 << 20), env={"A": "b"})
    done = Sandbox("none", "test").run(["sh", "-c", "pwd; echo $A; yes > big"], spec, what="x", check=False)
    assert done.stdout.split() == [str(tmp_path), "b"]
    assert (tmp_path / "big").stat().st_size <= 1 << 20


def test_a_sandbox_that_cannot_start_is_an_error_of_the_lab() -> None:
    with pytest.raises(HarnessError):
        Sandbox.of_host("bwrap").run(["/nonexistent"], SandboxSpec(Path("/nonexistent"), Limits(seconds=5)), what="x")
