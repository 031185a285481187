"""A file of finished work: one JSON line an item, so that a killed run goes on where it stopped."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO


class OtherRunError(ValueError):
    """The journal belongs to a run with other settings.

    Attributes:
        differences: setting (nested names joined by dots) -> (value in the journal, value now).
    """

    def __init__(self, differences: dict[str, tuple[Any, Any]]) -> None:
        self.differences = differences
        told = (f"{name} was {old!r} and is now {new!r}" for name, (old, new) in differences.items())
        super().__init__("; ".join(told))


class Journal:
    """Append-only record of finished items, headed by what they were made with.

    Every line is on the disk before ``append`` returns. A last line that a kill cut short is dropped when the
    journal is opened again. While it is open no other process can open it.

    Args:
        path: the file; made, with its folder, when missing.
        header: settings that the items depend on, JSON-serialisable.
        fresh: start over, whatever the file holds.
        on_drop: called with every item that starting over drops, before it is dropped.

    Attributes:
        path: the file.

    Raises:
        OtherRunError: the file holds items made with another header.
        BlockingIOError: another process has it open.
        ValueError: the file is no journal.
    """

    def __init__(
        self,
        path: Path,
        header: dict[str, Any],
        *,
        fresh: bool = False,
        on_drop: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = open(path, "a+b")
        try:
            self._lock()
            self._begin(json.loads(json.dumps(header, default=str)), fresh, on_drop)
        except BaseException:
            self._file.close()
            raise

    def append(self, item: dict[str, Any]) -> None:
        """Add one item and wait until it is on the disk."""
        self._file.write(json.dumps(item).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file and let others open it."""
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """(place, line) of every item."""
        with open(self.path, "rb") as file:
            place = len(file.readline())
            for line in file:
                yield place, line
                place += len(line)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(
                f"another run holds {self.path}; wait until it ends, or choose another --output_dir."
            ) from error

    def _begin(
        self, header: dict[str, Any], fresh: bool, on_drop: Callable[[dict[str, Any]], None] | None
    ) -> None:
        drop_torn_line(self._file)
        self._file.seek(0)
        first = self._file.readline()
        if first and not fresh:
            differences = dict(_differences(self._header(first), header))
            if differences:
                raise OtherRunError(differences)
            self._file.seek(0, os.SEEK_END)
            return
        if on_drop is not None:
            for _, line in self._lines():
                on_drop(json.loads(line))
        self._file.truncate(0)
        self.append(header)

    def _header(self, line: bytes) -> dict[str, Any]:
        try:
            header = json.loads(line)
        except ValueError:
            header = None
        if not isinstance(header, dict):
            raise ValueError(f"{self.path} is not a journal of this program, or is damaged; delete it.")
        return header


class KeyedJournal(Journal):
    """A journal whose items are found by a key; the newest item of a key counts.

    Its lines begin with the key, so that opening it reads over the items without parsing them.
    """

    def __init__(
        self,
        path: Path,
        header: dict[str, Any],
        *,
        fresh: bool = False,
        on_drop: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        super().__init__(path, header, fresh=fresh, on_drop=on_drop)
        try:
            self._places = {_key(line): place for place, line in self._lines()}
        except ValueError as error:
            self.close()
            raise ValueError(f"{path} is damaged; give --existing overwrite to start over.") from error
        self._end = path.stat().st_size

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def keys(self) -> list[str]:
        """Keys in the order in which they came first."""
        return list(self._places)

    def put(self, key: str, item: dict[str, Any]) -> None:
        """Add an item, or replace the one of this key, and wait until it is on the disk."""
        self.append({"key": key, **item})
        self._places[key] = self._end
        self._end = self._file.tell()

    def get(self, key: str) -> dict[str, Any] | None:
        """The newest item of a key, ``None`` when there is none."""
        if key not in self._places:
            return None
        with open(self.path, "rb") as file:
            file.seek(self._places[key])
            return json.loads(file.readline())

    def __enter__(self) -> KeyedJournal:
        return self


def newest_items(path: Path) -> dict[str, dict[str, Any]]:
    """Key -> newest item of a keyed journal, read without taking possession of it; a torn line is left out.

    Raises:
        FileNotFoundError: no such journal.
    """
    with open(path, "rb") as file:
        file.readline()
        whole = (line for line in file if line.endswith(b"\n"))
        return {_key(line): json.loads(line) for line in whole}


def drop_torn_line(file: BinaryIO) -> None:
    """Cut off what follows the last line break, a line that a killed process did not finish.

    Args:
        file: open for reading and writing; left at its end.
    """
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 65536)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    file.truncate(end)
    file.seek(0, os.SEEK_END)


_KEY = b'{"key": '
_KEY_BYTES = 400  # longer than any key


def _key(line: bytes) -> str:
    """``{"key": "<text>", ...`` to the text; keys are written by ``put``."""
    if not line.startswith(_KEY):
        raise ValueError(f"a line that begins with {line[:40]!r}")
    text, _ = json.JSONDecoder().raw_decode(line[len(_KEY) : len(_KEY) + _KEY_BYTES].decode())
    return str(text)


def _differences(
    old: dict[str, Any], new: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, f"{prefix}{key}.")
        elif before != after:
            yield f"{prefix}{key}", (before, after)
