# SPDX-License-Identifier: GPL-2.0-only
"""What the private apt is told: of the system's settings only how to reach servers, all else our own."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from harness.errors import UsageError
from harness.formats.debian import TARGET_FIELDS, choose_mirror, choose_mirror_by_suite
from harness.host import proc

SUITES = ("trixie", "trixie-updates", "trixie-backports")
KEYRINGS = tuple(Path("/usr/share/keyrings", f"debian-archive-keyring.{end}") for end in ("gpg", "pgp"))
MIRROR_VARIABLE = "XDNA_HARNESS_MIRROR"
ASK_SECONDS = 60.0

_OWN_ACQUIRE = ("Acquire::IndexTargets", "Acquire::Languages", "Acquire::Changelogs", "Acquire::Allow")


def write(root: Path) -> tuple[bool, set[str]]:
    """Write apt.conf and our only .sources file below ``root``.

    Returns whether lists fetched before are worthless now (another mirror), and the names of mirror and
    proxies, for ``redact``. UsageError: no apt, no Debian mirror, no keyring.
    """
    if '"' in str(root):
        raise UsageError(f"apt cannot work below {root}", hint="set XDG_CACHE_HOME to another path")
    for name in ("empty", "sources", "lists/partial", "cache/archives/partial", "state", "debs"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "state" / "status").touch()
    dump = _system("apt-config", "dump")
    mirror = os.environ.get(MIRROR_VARIABLE) or _system_mirror()
    conf = root / "apt.conf"
    conf.touch(mode=0o600)  # a proxy's password may be in it
    conf.write_text(configuration(root, dump))
    sources = root / "sources" / "debian.sources"
    text = sources_list(mirror, _keyring())
    changed = not sources.exists() or sources.read_text() != text
    sources.write_text(text)
    return changed, {mirror, *_hosts(mirror), *_hosts(dump)}


def configuration(root: Path, system: str) -> str:
    """Our apt.conf; ``system`` is what ``apt-config dump`` prints. Its hooks and pins are left out."""
    acquire = (line for line in system.splitlines() if line.startswith("Acquire::"))
    kept = (line for line in acquire if not line.startswith(_OWN_ACQUIRE))
    own = {
        "Dir::Etc::main": "/dev/null",
        "Dir::Etc::parts": root / "empty",
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": root / "sources",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": root / "empty",
        "Dir::Etc::trusted": "/dev/null",
        "Dir::Etc::trustedparts": root / "empty",
        "Dir::State": root / "state",
        "Dir::State::lists": root / "lists",
        "Dir::State::status": root / "state" / "status",
        "Dir::Cache": root / "cache",
        "Dir::Log": root,
        "Debug::NoLocking": "true",  # we hold the store's lock
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "root",  # _apt cannot read a cache below a private home
        "APT::Install-Recommends": "false",
        "APT::Install-Suggests": "false",
        "APT::Update::Error-Mode": "any",
        "APT::Get::Assume-Yes": "true",
        "Acquire::AllowInsecureRepositories": "false",
        "Acquire::AllowWeakRepositories": "false",
        "Acquire::AllowDowngradeToInsecureRepositories": "false",
        "Acquire::Languages": "none",
        "Acquire::Retries": "1",
        "Acquire::http::Timeout": "20",
        "Acquire::https::Timeout": "20",
    }
    return "\n".join([*kept, *(f'{name} "{value}";' for name, value in own.items()), ""])


def sources_list(mirror: str, keyring: Path) -> str:
    """Our only .sources file (deb822)."""
    if re.search(r"\s", mirror):
        raise UsageError("the mirror's URI has a space in it", hint=f"set {MIRROR_VARIABLE} to one URI")
    return (
        f"Types: deb deb-src\nURIs: {mirror}\nSuites: {' '.join(SUITES)}\nComponents: main\n"
        f"Architectures: amd64\nSigned-By: {keyring}\n"
    )


def redact(text: str, names: Iterable[str] = ()) -> str:
    """``text`` without the names of mirrors and proxies: they are nobody's business in a report."""
    for name in sorted(filter(None, names), key=len, reverse=True):
        text = text.replace(name, "<mirror>")
    text = re.sub(r"\b[a-z+]+://[^\s/'\"]+", "<mirror>", text)
    text = re.sub(r"(resolve|connect to) '?[^\s'()]+'?( \([^)]*\))?", r"\1 <mirror>", text)
    return re.sub(r"\[IP: [^\]]*\]|\b\d+\.\d+\.\d+\.\d+(:\d+)?", "<address>", text)


def _system(*argv: str) -> str:
    """What the system's own apt says."""
    if not shutil.which(argv[0]):
        hint = "Debian's packages can only be fetched on a Debian host"
        raise UsageError(f"{argv[0]} is not on this machine", hint=hint)
    return proc.run(argv, what=" ".join(argv[:2]), timeout=ASK_SECONDS).stdout


def _system_mirror() -> str:
    line = "\t".join(f"$({field})" for field in TARGET_FIELDS)
    mirror = choose_mirror(_system("apt-get", "indextargets", "--format", line, "Created-By: Packages"))
    if mirror is None:  # always so before the system's first update
        mirror = choose_mirror_by_suite(_system("apt-get", "update", "--print-uris"))
    if mirror is None:
        raise UsageError(
            "the system's apt sources name no Debian archive",
            hint=f"set {MIRROR_VARIABLE} to the URI of one, as in a 'deb' line (http://HOST/debian)",
        )
    return mirror


def _keyring() -> Path:
    for path in KEYRINGS:
        if path.exists():
            return path
    raise UsageError("no Debian archive keyring", hint="sudo apt-get install debian-archive-keyring")


def _hosts(text: str) -> set[str]:
    return {host.rpartition("@")[2].partition(":")[0] for host in re.findall(r"://([^\s/'\";]+)", text)}
