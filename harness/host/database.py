# SPDX-License-Identifier: GPL-2.0-only
"""A small SQL database that several processes write: an SQLite file on one machine, or PostgreSQL for several.

The statements are the same for both, with ``?`` for values. Each one is a transaction and has a connection of its own:
a server that goes away and comes back costs nobody more than that statement, and threads share nothing. (SQLAlchemy
would bring a language of its own for a dozen statements that both understand as they are.)
"""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.errors import InfraError, UsageError

SECONDS = 5.0
"""How long a statement may wait for others, and for the server."""
SCHEMES = ("postgresql://", "postgres://")


class Database:
    """``url``: a path, ``sqlite:///PATH`` or ``postgresql://USER@HOST/NAME`` (a password is better in ~/.pgpass).

    Raises InfraError when it cannot be used, UsageError when psycopg is not there.
    """

    def __init__(self, url: str, tables: Sequence[str] = ()) -> None:
        self.server = url if url.startswith(SCHEMES) else ""
        self.path = Path(url.removeprefix("sqlite://")).expanduser()
        self.name = re.sub(r"//([^:@/]*):[^@/]*@", r"//\1:...@", self.server) or str(self.path)
        if not self.server and not self.path.exists() and tables:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                sqlite3.connect(self.path).close()
                _share(self.path)
            except (OSError, sqlite3.Error) as error:
                raise InfraError(f"cannot make {self.name}: {error}", hint="name another place") from error
        for table in tables:
            self._make(f"CREATE TABLE IF NOT EXISTS {table}")

    def _make(self, statement: str) -> None:
        """PostgreSQL refuses one of two who make the same table at once; then it is there."""
        try:
            self.change(statement)
        except InfraError:
            self.change(statement)

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with self._cursor(statement, values) as cursor:
            return [tuple(row) for row in cursor.fetchall()]

    def change(self, statement: str, *values: object) -> int:
        """Change something: how many rows."""
        with self._cursor(statement, values) as cursor:
            return int(cursor.rowcount)

    @contextmanager
    def _cursor(self, statement: str, values: Sequence[object]) -> Iterator[Any]:
        connect = self._postgresql if self.server else self._sqlite
        with connect() as (connection, mark):
            cursor = connection.cursor()
            cursor.execute(statement.replace("?", mark), values)
            yield cursor

    @contextmanager
    def _sqlite(self) -> Iterator[tuple[Any, str]]:
        """Never makes the file: one that was deleted is gone, and not empty."""
        try:
            where = f"file:{quote(str(self.path.absolute()))}?mode=rw"
            connection = sqlite3.connect(where, uri=True, timeout=SECONDS, isolation_level=None)
            try:
                connection.execute("PRAGMA synchronous = FULL")
                yield connection, "?"
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise self._trouble(error) from error

    @contextmanager
    def _postgresql(self) -> Iterator[tuple[Any, str]]:
        try:
            import psycopg
        except ImportError as error:
            raise UsageError(f"{self.name} needs psycopg", hint="pip install 'xdna-harness[postgresql]'") from error
        milliseconds = int(SECONDS * 1000)
        try:
            with psycopg.connect(
                self.server,
                autocommit=True,
                connect_timeout=int(SECONDS),
                options=f"-c statement_timeout={milliseconds}",
                tcp_user_timeout=milliseconds,
            ) as connection:
                with _cut_after(2 * SECONDS, connection.fileno()):
                    yield connection, "%s"
        except psycopg.Error as error:
            raise self._trouble(error) from error

    def _trouble(self, error: Exception) -> InfraError:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        hint = "is the server up, and may you log in?" if self.server else "is the disk full, or the file gone?"
        if "readonly" in said and not self.server:
            hint = "you may not write it: whoever made it must let your group"
        return InfraError(f"cannot use the database {self.name}: {said}", hint=hint, transient=True)


def _share(path: Path) -> None:
    """A new file is for all to whom its folder is, whoever made it first: a machine has one table for all its users."""
    folder = path.parent.stat()
    with suppress(OSError):  # not a member of that group
        os.chown(path, -1, folder.st_gid)
    path.chmod(stat.S_IMODE(folder.st_mode) & 0o666 | 0o600)


@contextmanager
def _cut_after(seconds: float, fd: int) -> Iterator[None]:
    """A server that took a statement and stands still ends no wait by itself, whatever it was told; the end of the
    connection does."""
    with socket.socket(fileno=os.dup(fd)) as line:

        def cut() -> None:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(seconds, cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
