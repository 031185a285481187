"""Files that are whole or absent, and names for what made them."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

_PREFIX, _SUFFIX = ".writing-", ".tmp"
_swept: set[str] = set()


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears under its final name only when the block ends without an error.

    The bytes go to a hidden temporary file in the same folder, are flushed to the disk and then renamed, so a
    killed run leaves the old file, or nothing, but never half of the new one.

    Args:
        path: final path; missing parent folders are made.

    Yields:
        A binary file open for writing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep_once(path.parent)
    handle, temporary = _locked_temporary(path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o666 & ~_umask())
            os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def remove_leftovers(folders: Iterable[Path]) -> None:
    """Remove the temporary files that a killed ``atomic_file`` left in these folders.

    Files that another process is writing at this moment are locked, and stay.

    Args:
        folders: missing ones are passed over.
    """
    for folder in folders:
        for path in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
            with suppress(OSError):  # gone, locked, or on a file system without locks
                _remove_if_unlocked(path)


def _remove_if_unlocked(path: Path) -> None:
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _locked_temporary(folder: Path) -> tuple[int, str]:
    """A new temporary file, locked while it is open: the lock goes with the process that is killed."""
    while True:
        handle, temporary = tempfile.mkstemp(prefix=_PREFIX, suffix=_SUFFIX, dir=folder)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            return handle, temporary
        if os.fstat(handle).st_nlink:
            return handle, temporary
        os.close(handle)  # another process took it for a leftover before it was locked


def _sweep_once(folder: Path) -> None:
    """What a killed process left here goes when the first file is written again: nobody else would know."""
    key = os.path.abspath(folder)
    if key not in _swept:
        _swept.add(key)
        remove_leftovers([folder])


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically."""
    with atomic_file(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    r"""Write UTF-8 text atomically.

    Bytes of a file name that are no UTF-8 become ``\udcXX``, which JSON reads back as they were.
    """
    write_bytes(path, content.encode(errors="backslashreplace"))


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON atomically; paths are written as text."""
    write_text(path, json.dumps(content, indent=2, default=str, ensure_ascii=False) + "\n")
