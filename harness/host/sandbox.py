# SPDX-License-Identifier: GPL-2.0-only
"""Run make and checks where a stranger's Makefile can do no harm.

Inside there is no network, no home directory, no process but its own; only the build folder can be written.
Source and build folder are always at ``/src`` and ``/build``, so that ``.cmd`` files, ccache and ``__FILE__``
agree between trees.

Three ways, tried in this order by :meth:`Sandbox.detect`:

``bwrap-root``  we are root: bubblewrap mounts with our privileges and the command runs as a user that owns
                nothing else on this machine. In a user namespace it would be our root in disguise: it was
                seen to write /proc/sys/kernel/printk, the files it leaves would be root's (a set-uid one
                too), and the kernel exempts root from the limit on processes (kernel/fork.c, copy_process).
``bwrap``       an ordinary user: bubblewrap in a user namespace of its own, in which we are not root either.
``none``        neither works: the command runs plainly, with limits only; ``reason`` says why.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.errors import HarnessError, InfraError
from harness.host import proc

SOURCE = "/src"
BUILD = "/build"
ROOT_USER = 65533  # Debian policy 9.2.2 keeps 65000-65533 unused; nobody (65534) is shared with daemons
INNER_USER = 1000  # not 65534, which is also how every foreign file's owner looks in a user namespace
SYSTEM_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
ETC = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/ocamlfind.conf")  # the last for coccinelle
TOOL_PATH = "/usr/bin:/usr/sbin:/bin:/sbin"
LINK_PLUGINS = Path("/usr/lib/bfd-plugins")
"""What nm and ar load each time, on the chance that an object is for link-time optimisation, which the kernel never is
with GNU tools. Where LLVM is installed it is two of these, and an nm takes 35 ms instead of 5: Kbuild calls it thrice
for a driver of one changed file, and ar for each folder of a kernel."""
PATH = f"/usr/lib/ccache:{TOOL_PATH}"  # Debian's folder of compilers that go through ccache; may be missing

GIB = 1 << 30

Kind = Literal["bwrap-root", "bwrap", "none"]


def let_it_read() -> None:
    """What root makes from now on can be read by the user that commands run as, whatever root's umask: a patched file
    that make may not open would be the patch's fault. What is secret is made with a mode of its own."""
    if os.geteuid() == 0:
        os.umask(0o022)


@dataclass(frozen=True)
class Limits:
    """What a command may use. Bytes, except ``seconds`` (wall time) and ``processes``.

    ``memory`` is address space per process: the linker needs 1 to 2 GiB for a debug kernel. What many
    processes use together ends at the kernel's OOM killer, which is told to take these first.
    ``disk_reserve`` is what must stay free where the build folder is.
    """

    seconds: float
    memory: int = 6 * GIB
    processes: int = 2048
    file_size: int = 4 * GIB
    temporary: int = GIB
    disk_reserve: int = 2 * GIB


@dataclass(frozen=True)
class Bind:
    """A file or folder of the host, shown inside at ``inside``, read-only unless ``writable``."""

    host: Path
    inside: str
    writable: bool = False


@dataclass(frozen=True)
class SandboxSpec:
    """One command's view of the world.

    ``build`` is the only thing it can write to (and what of ``binds`` says so); later binds cover earlier
    ones, so single files of the source can be replaced. ``env`` is the whole environment apart from PATH and
    HOME.
    """

    build: Path
    limits: Limits
    source: Path | None = None
    binds: tuple[Bind, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sandbox:
    """How commands are confined on this machine. ``reason`` says why not better, for doctor and the report.

    ``links`` are the top-level system folders that are symlinks here (``bin`` -> ``usr/bin``); ``folders``
    those that are real; ``etc`` the files of /etc that a compiler needs and that exist; ``plugins``: there are
    :data:`LINK_PLUGINS`.
    """

    kind: Kind
    reason: str
    links: tuple[tuple[str, str], ...] = ()
    folders: tuple[str, ...] = ()
    etc: tuple[str, ...] = ()
    plugins: bool = False

    @classmethod
    def detect(cls) -> Sandbox:
        """The best way that works here, found by trying (about 20 ms). InfraError: the machine is too busy to tell,
        which is no reason to run a stranger's Makefile unconfined."""
        sandbox = cls.of_host("bwrap-root" if os.geteuid() == 0 else "bwrap")
        try:
            sandbox.probe()
        except proc.CommandTimeout:
            raise
        except HarnessError as error:
            return cls("none", f"not sandboxed: {error.message}")
        return sandbox

    @classmethod
    def of_host(cls, kind: Kind, reason: str = "") -> Sandbox:
        """A sandbox of this kind for this machine's folder layout, not tried."""
        tops = [(name, Path("/", name)) for name in SYSTEM_FOLDERS]
        return cls(
            kind,
            reason,
            links=tuple((name, os.readlink(path)) for name, path in tops if path.is_symlink()),
            folders=tuple(name for name, path in tops if path.is_dir() and not path.is_symlink()),
            etc=tuple(name for name in ETC if Path(name).exists()),
            plugins=LINK_PLUGINS.is_dir(),
        )

    @property
    def isolated(self) -> bool:
        """Whether there is any confinement, and with it the fixed paths."""
        return self.kind != "none"

    def describe(self) -> str:
        """One line for doctor and the report."""
        how = {
            "bwrap-root": f"bubblewrap, as user {ROOT_USER} without privileges",
            "bwrap": "bubblewrap in a user namespace",
            "none": self.reason,
        }
        return how[self.kind]

    def probe(self) -> None:
        """Run ``true`` inside; raises :class:`InfraError` when that is impossible."""
        with tempfile.TemporaryDirectory(prefix="xdna-sandbox-") as folder:
            spec = SandboxSpec(Path(folder), Limits(seconds=20, disk_reserve=0))
            self.own(spec.build)
            self.run(["true"], spec, what=f"trying the sandbox {self.kind}")

    def source_path(self, spec: SandboxSpec) -> str:
        """Where the command finds the source."""
        return SOURCE if self.isolated else str(spec.source)

    def build_path(self, spec: SandboxSpec) -> str:
        """Where the command finds its build folder."""
        return BUILD if self.isolated else str(spec.build)

    def own(self, folder: Path) -> None:
        """Hand a folder and all in it to the user that commands run as. Never follows a link."""
        if self.kind != "bwrap-root":
            return
        os.chown(folder, ROOT_USER, ROOT_USER, follow_symlinks=False)
        for place, folders, files in os.walk(folder):
            for name in (*folders, *files):
                os.chown(os.path.join(place, name), ROOT_USER, ROOT_USER, follow_symlinks=False)

    def environment(self, spec: SandboxSpec) -> dict[str, str]:
        """The whole environment of the command."""
        return {"PATH": PATH, "HOME": self.build_path(spec), "LC_ALL": "C", "TZ": "UTC", **spec.env}

    def argv(self, command: Sequence[str], spec: SandboxSpec) -> list[str]:
        """The words that run ``command`` confined. Pure."""
        limited = [*_limits(spec.limits), *command]
        if self.kind == "none":
            variables = [f"{name}={value}" for name, value in self.environment(spec).items()]
            return ["env", "-i", "-C", str(spec.build), *variables, *limited]
        words = ["bwrap", *self._namespaces(), "--die-with-parent", "--new-session", "--clearenv"]
        for name, value in self.environment(spec).items():
            words += ["--setenv", name, value]
        words += [*self._system(spec.limits), *_mounts(spec), "--remount-ro", "/", "--chdir", "/", "--"]
        if self.kind == "bwrap-root":
            user = str(ROOT_USER)
            words += ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--inh-caps=-all"]
            words += ["--ambient-caps=-all", "--bounding-set=-all", "--no-new-privs"]
        return [*words, "env", "-C", BUILD, *limited]  # not --chdir: that is done as root without privileges

    def _namespaces(self) -> list[str]:
        if self.kind == "bwrap-root":
            words = [f"--unshare-{name}" for name in ("ipc", "pid", "net", "uts", "cgroup-try")]
            words += ["--cap-drop", "ALL"]
            for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):  # setpriv's, which drops them
                words += ["--cap-add", capability]
            return words
        user = str(INNER_USER)
        return [
            *("--unshare-all", "--unshare-user", "--disable-userns"),
            *("--uid", user, "--gid", user, "--cap-drop", "ALL"),
        ]

    def _system(self, limits: Limits) -> list[str]:
        """What a compiler needs of the machine, read-only, and its temporary folders, of limited size."""
        words = ["--ro-bind", "/usr", "/usr"]
        if self.plugins:
            words += ["--tmpfs", str(LINK_PLUGINS), "--remount-ro", str(LINK_PLUGINS)]
        for name, target in self.links:
            words += ["--symlink", target, f"/{name}"]
        for name in self.folders:
            words += ["--ro-bind", f"/{name}", f"/{name}"]
        words += ["--perms", "0755", "--dir", "/etc"]
        for name in self.etc:
            words += ["--ro-bind", name, name]
        words += ["--proc", "/proc", "--dev", "/dev"]
        for folder in ("/dev/shm", "/tmp"):
            words += ["--perms", "1777", "--size", str(limits.temporary), "--tmpfs", folder]
        return [*words, "--remount-ro", "/dev"]

    def run(
        self,
        command: Sequence[str],
        spec: SandboxSpec,
        *,
        what: str,
        log: Path | None = None,
        check: bool = True,
        poll: Callable[[], None] | None = None,
    ) -> proc.Completed:
        """Run ``command`` to its end within ``spec``; parameters and errors as :func:`harness.host.proc.run`.

        A disk that gets full ends it with an :class:`InfraError`.
        """

        def watch() -> None:
            _check_disk(spec, what, log)
            if poll:
                poll()

        return proc.run(
            self.argv(command, spec), what=what, timeout=spec.limits.seconds, log=log, check=check, poll=watch
        )


def _limits(limits: Limits) -> list[str]:
    """Set inside the sandbox: in a user namespace of its own only its own processes count."""
    return [
        *("choom", "-n", "1000", "--"),
        *("prlimit", f"--as={limits.memory}", f"--nproc={limits.processes}"),
        *(f"--fsize={limits.file_size}", "--core=0", "--"),
    ]


def _mounts(spec: SandboxSpec) -> list[str]:
    words = ["--bind", str(spec.build), BUILD]
    if spec.source is not None:
        words += ["--ro-bind", str(spec.source), SOURCE]
    for bind in spec.binds:
        words += ["--bind" if bind.writable else "--ro-bind", str(bind.host), bind.inside]
    return words


def _check_disk(spec: SandboxSpec, what: str, log: Path | None) -> None:
    disk = os.statvfs(spec.build)
    free = disk.f_bavail * disk.f_frsize
    if free < spec.limits.disk_reserve:
        raise InfraError(
            f"{what} was ended: only {free >> 20} MiB are free where it writes ({spec.build})",
            hint="free some disk space: 'xdna-harness clean' empties the cache",
            log=log,
        )
