# SPDX-License-Identifier: GPL-2.0-only
"""Series from a real archive: Debian's public-inbox on loopback, holding mails that are made here."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import InfraError, UsageError
from harness.host.fetch import fetch
from harness.host.revisions import discussion, previous

PACKAGES = "public-inbox libdbd-sqlite3-perl libsearch-xapian-perl libplack-perl"
LIST = "heap@lists.example.com"
START_SECONDS = 30.0


def patch(title: str, new: str) -> str:
    return (
        f"Why {title}.\n\nSigned-off-by: Ann Author <ann@example.com>\n---\n f | 2 +-\n"
        " 1 file changed, 1 insertion(+), 1 deletion(-)\n\n"
        "diff --git a/f b/f\nindex 1111111..2222222 100644\n--- a/f\n+++ b/f\n"
        f"@@ -1,3 +1,3 @@\n one\n-a\n+{new}\n three\n-- \n2.39.5\n"
    )


def cover(revision: int) -> str:
    base = str(revision) * 40
    return f"What and why.\n\n---\nbase-commit: {base}\nchange-id: 20260515-heap-abc\n-- \n2.39.5\n"


def mail(own: str, subject: str, body: str, *, sender: str = "Ann Author", answers: str = "", day: int = 15) -> bytes:
    address = f"{sender.split()[0].lower()}@example.com"
    head = f"From: {sender} <{address}>\nTo: {LIST}\nSubject: {subject}\nMessage-ID: <{own}@example.com>\n"
    head += f"Date: {day} May 2026 09:19:22 +0000\n"
    head += f"In-Reply-To: <{answers}@example.com>\nReferences: <{answers}@example.com>\n" if answers else ""
    return f"{head}MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n{body}".encode()


MAILS = (
    mail("c1", "[PATCH 0/2] accel: grow the heap", cover(1)),
    mail("p1", "[PATCH 1/2] accel: first", patch("first", "x"), answers="c1"),
    mail("p2", "[PATCH 2/2] accel: second", patch("second", "y"), answers="c1"),
    mail("r1", "Re: [PATCH 1/2] accel: first", "Fine.\n\nReviewed-by: Rev Iewer <rev@example.com>\n",
         sender="Rev Iewer", answers="p1"),
    mail("c2", "[PATCH v2 0/1] accel: grow the heap", cover(2), day=17),
    mail("q1", "[PATCH v2 1/1] accel: first and second", patch("both", "z"), answers="c2", day=17),
    mail("i1", "[PATCH 1/3] accel: alone", patch("alone", "u"), day=18),
    mail("i2", "[PATCH v2] accel: nothing before", patch("nothing before", "w"), day=19),
)  # fmt: skip


class Archive:
    """A public-inbox of its own under ``root``, served on a free port until ``stop``."""

    def __init__(self, root: Path) -> None:
        self.env = {
            **os.environ,
            "HOME": str(root),
            "ORIGINAL_RECIPIENT": LIST,
            "PI_CONFIG": f"{root}/config",
        }
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/heap"
        self._run("public-inbox-init", "-V2", "heap", f"{root}/heap", self.url, LIST)
        self._run("git", "config", "-f", f"{root}/config", "publicinboxmda.spamcheck", "none")
        for text in MAILS:
            self._run("public-inbox-mda", "--no-precheck", stdin=text)
        with (root / "httpd.log").open("wb") as log:
            self.server = subprocess.Popen(
                ["public-inbox-httpd", "-W0", "-l", f"127.0.0.1:{self.port}"],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._wait(root / "httpd.log")

    def _run(self, *argv: str, stdin: bytes = b"") -> None:
        done = subprocess.run(argv, env=self.env, input=stdin, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr.decode(errors="replace")

    def _wait(self, log: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.server.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/", timeout=5):
                    return
            except OSError:
                time.sleep(0.1)
        self.stop()
        pytest.fail(f"public-inbox-httpd did not answer within {START_SECONDS:.0f} s:\n{log.read_text()}")

    def stop(self) -> None:
        self.server.terminate()
        try:
            self.server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait(timeout=10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    if not all(map(shutil.which, ("public-inbox-init", "public-inbox-mda", "public-inbox-httpd"))):
        pytest.skip(f"no public-inbox here: apt-get install {PACKAGES}")
    missing = [
        module
        for module in ("DBD::SQLite", "Search::Xapian", "Plack")
        if subprocess.run(["perl", f"-M{module}", "-e1"], capture_output=True, timeout=30, check=False).returncode
    ]
    if missing:
        pytest.skip(f"public-inbox lacks {', '.join(missing)}: apt-get install {PACKAGES}")
    served = Archive(tmp_path_factory.mktemp("public-inbox"))
    yield served
    served.stop()


def point_b4_at(url: str, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Say the archive's address as a user would, in git's configuration, and take the user's own away."""
    for name in [n for n in os.environ if n.startswith(("XDG_", "GIT_")) or n.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    (home / ".gitconfig").write_text(f'[b4]\n\tmidmask = "{url}/%s"\n\tsearchmask = "{url}/?x=m&q=%s"\n')


@pytest.fixture
def b4_here(archive: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Archive:
    point_b4_at(archive.url, monkeypatch, tmp_path)
    return archive


@pytest.mark.parametrize("spec", ["c1@example.com", "<p2@example.com>"])
def test_by_message_id_with_trailers_of_answers_and_a_newer_revision(b4_here: Archive, spec: str) -> None:
    one = fetch(spec)
    assert (one.title, one.revision, one.message_id) == ("accel: grow the heap", 1, "c1@example.com")
    assert [patch.subject for patch in one.patches] == ["accel: first", "accel: second"]
    assert (one.base_commit, one.change_id) == ("1" * 40, "20260515-heap-abc")
    assert "Reviewed-by: Rev Iewer <rev@example.com>" in one.trailers
    assert b"Reviewed-by: Rev Iewer" in one.patches[0].mail
    assert b"Reviewed-by: Rev Iewer" not in one.patches[1].mail
    assert one.newer_revision == 2
    assert len(set(one.patch_ids)) == 2


@pytest.mark.parametrize("tail", ["c2@example.com/", "q1@example.com/T/#u", "c2%40example.com/raw"])
def test_by_url(b4_here: Archive, tail: str) -> None:
    one = fetch(f"{b4_here.url}/{tail}")
    assert (one.revision, len(one.patches), one.newer_revision) == (2, 1, None)
    assert one.base_commit == "2" * 40


def test_by_the_url_of_another_archive_than_the_configured_one(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    point_b4_at(f"http://127.0.0.1:{free_port()}/nothing", monkeypatch, tmp_path)
    one = fetch(f"{archive.url}/c1@example.com/")
    assert (one.revision, len(one.patches)) == (1, 2)


def test_by_an_answer_to_a_patch(b4_here: Archive) -> None:
    assert fetch("r1@example.com").message_id == "c1@example.com"


def test_the_previous_revision_is_found_with_what_was_answered_to_it(b4_here: Archive, tmp_path: Path) -> None:
    found = previous(fetch("c2@example.com"), tmp_path / "previous.mbox")
    assert "on the list" in found.how
    old = fetch(found.spec)
    assert (old.revision, len(old.patches), old.message_id) == (1, 2, "c1@example.com")
    assert [mail.message_id for mail in discussion(old).mails if mail.reply] == ["r1@example.com"]


def test_the_list_has_no_revision_before_this_one(b4_here: Archive, tmp_path: Path) -> None:
    lonely = replace(fetch("i2@example.com"), revision=2)
    found = previous(lonely, tmp_path / "previous.mbox")
    assert found.spec == ""
    assert "name it with --previous" in found.how


def test_an_incomplete_series(b4_here: Archive) -> None:
    with pytest.raises(UsageError, match="1 of 3 patches, missing: 2/3, 3/3") as caught:
        fetch("i1@example.com")
    assert len(caught.value.lines()) == 2


def test_an_unknown_message_id_is_the_users(b4_here: Archive) -> None:
    with pytest.raises(UsageError, match=r"does not know <nobody@example\.com>") as caught:
        fetch("nobody@example.com")
    assert len(caught.value.lines()) == 2
    assert "b4.midmask" in caught.value.hint


def test_a_closed_port_is_the_labs_and_transient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    point_b4_at(f"http://127.0.0.1:{free_port()}/heap", monkeypatch, tmp_path)
    with pytest.raises(InfraError, match="cannot reach the mail archive") as caught:
        fetch("c1@example.com")
    assert caught.value.transient
    assert len(caught.value.lines()) == 2


def test_an_archive_that_never_answers_is_left_at_the_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []
        threading.Thread(target=hold_connections, args=(server, held), daemon=True).start()
        point_b4_at(f"http://127.0.0.1:{server.getsockname()[1]}/heap", monkeypatch, tmp_path)
        started = time.monotonic()
        with pytest.raises(InfraError, match="did not answer within 4 s") as caught:
            fetch("c1@example.com", limit=4)
        assert time.monotonic() - started < 15
        assert held, "b4 never came to the archive"
        for connection in held:
            connection.close()
    assert caught.value.transient
    assert len(caught.value.lines()) == 2


def hold_connections(server: socket.socket, held: list[socket.socket]) -> None:
    """Accept, and say nothing, until the server socket is closed."""
    while True:
        try:
            held.append(server.accept()[0])
        except OSError:
            return
