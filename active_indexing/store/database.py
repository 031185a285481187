"""The record of truth: one SQLite file, and the only importer of sqlite3.

Write-ahead log with ``synchronous=FULL``: a commit is on the disk before it returns, and readers never wait
for the writer.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from active_indexing.store.errors import StoreError
from active_indexing.store.schema import ENDINGS, MANIFESTS, SCHEMA, VERSION

BUSY_SECONDS = 60
"""A commit waits so long for another one, of ``verify`` beside a release, before it gives up."""

STEPS_BETWEEN_LOOKS = 100_000
"""Instructions of SQLite between two looks at the clock, some milliseconds."""


class Connection:
    """One open connection to the database; safe in threads.

    Args:
        path: of the file.
        writable: whether anything will be written.

    Raises:
        StoreError: damaged, of another version, or not readable here.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.path = path
        self._lock = threading.RLock()
        if not path.is_file():
            raise StoreError(f"{path} is missing: put it back from a copy of the store (docs/store.md).")
        with self._told():
            self._connection = _connected(path, writable)
        try:
            self._check(writable)
        except BaseException:
            self._connection.close()
            raise

    @classmethod
    def create(cls, path: Path, meta: dict[str, str]) -> Self:
        """Make the file with its tables, in one transaction.

        Args:
            path: where nothing of value is: what an earlier creation left half done is made anew.
            meta: written into it.
        """
        for ending in ENDINGS:
            path.with_name(path.name + ending).unlink(missing_ok=True)
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            pairs = "".join(f"INSERT INTO meta VALUES ({_text(k)}, {_text(v)});" for k, v in meta.items())
            connection.executescript(f"BEGIN;{SCHEMA}{pairs}PRAGMA user_version = {VERSION};COMMIT;")
        except sqlite3.Error as error:
            raise StoreError(f"{path} can't be made ({error}); is the disk full?") from error
        finally:
            connection.close()
        return cls(path, writable=True)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All that is done inside is on the disk when the block ends, or nothing of it."""
        with self._lock, self._told():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read inside is of one moment, whatever others write meanwhile."""
        with self._lock:
            self.rows_of("BEGIN")
            try:
                yield
            finally:
                self.rows_of("ROLLBACK")

    @contextmanager
    def limited(self, until: float | None) -> Iterator[None]:
        """Statements inside end with a TimeoutError at a moment, UNIX time; never with ``None``."""
        if until is None:
            yield
            return
        with self._lock:
            self._connection.set_progress_handler(lambda: time.time() > until, STEPS_BETWEEN_LOOKS)
            try:
                yield
            except StoreError as error:
                if time.time() > until:
                    raise TimeoutError from error
                raise
            finally:
                self._connection.set_progress_handler(None, 0)

    def rows_of(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows that a statement gives."""
        with self._lock, self._told():
            return self._connection.execute(query, values).fetchall()

    def integrity(self, until: float | None = None) -> list[str] | None:
        """What SQLite finds wrong with its own file; empty when all is well, ``None`` without the time.

        Args:
            until: UNIX time at which it is given up.
        """
        try:
            with self.limited(until):
                found = [row[0] for row in self.rows_of("PRAGMA integrity_check(20)")]
        except TimeoutError:
            return None
        except StoreError as error:
            return [str(error)]
        return [] if found == ["ok"] else found

    def _check(self, writable: bool) -> None:
        version = self.rows_of("PRAGMA user_version")[0][0]
        if version != VERSION:
            raise StoreError(
                f"{self.path} is of version {version}, this program knows version {VERSION}; open the "
                f"store with "
                "the program that made it, or put the file back from a copy."
            )
        if writable:
            for pragma in ("synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
                self.rows_of(f"PRAGMA {pragma}")
            self.rows_of(MANIFESTS)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """SQLite's errors in our words."""
        try:
            yield
        except sqlite3.IntegrityError as error:
            raise StoreError(f"{self.path}: an image that the store has already ({error}).") from error
        except sqlite3.OperationalError as error:
            raise StoreError(_operational(self.path, str(error))) from error
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"{self.path} is damaged ({error}): put it back from a copy of the store (docs/store.md)."
            ) from error


def _connected(path: Path, writable: bool) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={'rw' if writable else 'ro'}"
    wal = path.with_name(path.name + "-wal")
    if not writable and not os.access(path.parent, os.W_OK) and not (wal.exists() and wal.stat().st_size):
        uri += (
            "&immutable=1"  # else SQLite would want to make the files of its log in a folder for reading only
        )
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS
    )
    connection.execute("SELECT count(*) FROM sqlite_master")
    return connection


def _operational(path: Path, text: str) -> str:
    if "full" in text or "disk I/O" in text:
        return (
            f"{path} can't be written: the disk is full or fails ({text}). Nothing of this step was "
            f"recorded; make "
            "room and run the same command again."
        )
    if "readonly" in text or "unable to open" in text:
        return (
            f"{path} can't be written here ({text}); give yourself the right to write to the store's folder."
        )
    if "locked" in text:
        return f"{path} is locked by another program for {BUSY_SECONDS} s; run the command again later."
    if "no such table" in text or "no such column" in text:
        return (
            f"{path} is damaged or no store of this version ({text}); put it back from a copy of the store."
        )
    return f"{path}: {text}."


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
