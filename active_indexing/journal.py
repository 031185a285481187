"""A file of finished work: one JSON line an item, so that a killed run goes on where it stopped."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any, BinaryIO


class OtherRunError(ValueError):
    """The journal belongs to a run with other settings; the text says which differ and what to do."""


class Journal:
    """Append-only record of finished items, headed by what they were made with.

    Every line is on the disk before ``append`` returns. A last line that a kill cut short is dropped when the
    journal is opened again. While it is open no other process can open it.

    Args:
        path: the file; made, with its folder, when missing.
        header: settings that the items depend on, JSON-serialisable.
        fresh: start over, whatever the file holds.

    Raises:
        OtherRunError: the file holds items made with another header.
        BlockingIOError: another process has it open.
    """

    def __init__(self, path: Path, header: dict[str, Any], *, fresh: bool = False) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = open(path, "a+b")
        try:
            self._lock()
            self._begin(json.loads(json.dumps(header, default=str)), fresh)
        except BaseException:
            self._file.close()
            raise

    def append(self, item: dict[str, Any]) -> None:
        """Add one item and wait until it is on the disk."""
        self._file.write(json.dumps(item).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def places(self, key: str) -> dict[Any, int]:
        """Where the newest item of each value of ``key`` begins, for ``item_at``."""
        found = {}
        with open(self.path, "rb") as file:
            place = len(file.readline())
            for line in file:
                found[json.loads(line)[key]] = place
                place += len(line)
        return found

    def item_at(self, place: int) -> dict[str, Any]:
        """The item that begins at a place given by ``places``."""
        with open(self.path, "rb") as file:
            file.seek(place)
            return json.loads(file.readline())

    def close(self) -> None:
        """Close the file and let others open it."""
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(
                f"another run is writing to {self.path.parent}; wait for it or choose another --output_dir."
            ) from error

    def _begin(self, header: dict[str, Any], fresh: bool) -> None:
        self._file.seek(0)
        first = self._file.readline()
        if fresh or not first.endswith(b"\n"):
            self._file.truncate(0)
            self.append(header)
            return
        differing = _differences(json.loads(first), header)
        if differing:
            raise OtherRunError("; ".join(differing))
        self._drop_torn_line()

    def _drop_torn_line(self) -> None:
        end = self._file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 65536)
            self._file.seek(start)
            newline = self._file.read(end - start).rfind(b"\n")
            if newline >= 0:
                self._file.truncate(start + newline + 1)
                break
            end = start
        self._file.seek(0, os.SEEK_END)


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += _differences(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key} was {before!r} and is now {after!r}")
    return found
