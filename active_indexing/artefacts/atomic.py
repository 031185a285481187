"""Files that are whole or absent, and still there after the power failed."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_PREFIX, _SUFFIX = ".writing-", ".tmp"
_swept: set[str] = set()
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FullDiskError(OSError):
    """A file that could not be written because there is no room; what was there before is there still."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(error.errno, error.strerror)
        self._text = (
            f"{path} can't be written: the disk or a quota is full ({error.strerror}). Nothing of it was "
            "kept; make room and run the same command again."
        )

    def __str__(self) -> str:
        return self._text


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears under its final name only when the block ends without an error.

    The bytes go to a hidden temporary file in the same folder, are flushed to the disk and then renamed, and
    so is the folder: a killed run leaves the old file, or nothing, but never half of the new one, and a file
    that was written stays when the power fails.

    Args:
        path: final path; missing parent folders are made.

    Yields:
        A binary file open for writing, and for reading what was written.

    Raises:
        FullDiskError: no room for it.
    """
    path = Path(path)
    make_folder(path.parent)
    _sweep_once(path.parent)
    handle, temporary = _locked_temporary(path.parent)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o666 & ~_umask())
            os.replace(temporary, path)
        fsync_folder(path.parent)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _FULL:
            raise FullDiskError(path, error) from error
        raise


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, each on the disk before the next."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        fsync_folder(each.parent)


def fsync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk: fsync of a file does not keep its name."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def unlink(path: Path) -> None:
    """Delete a file for good; one that is not there stays away."""
    if path.parent.is_dir():
        path.unlink(missing_ok=True)
        fsync_folder(path.parent)


def copy_file(source: Path, path: Path) -> None:
    """Copy a file atomically."""
    with open(source, "rb") as content, atomic_file(path) as file:
        shutil.copyfileobj(content, file, 1 << 20)


def is_temporary(path: Path) -> bool:
    """Whether a file is one that ``atomic_file`` was writing."""
    return path.name.startswith(_PREFIX) and path.name.endswith(_SUFFIX)


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


def write_array(path: Path, array: np.ndarray) -> None:
    """Write a .npy file atomically."""
    with atomic_file(path) as file:
        np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def write_text(path: Path, content: str) -> None:
    r"""Write UTF-8 text atomically.

    Bytes of a file name that are no UTF-8 become ``\udcXX``, which JSON reads back as they were.
    """
    write_bytes(path, content.encode(errors="backslashreplace"))


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON atomically; paths are written as text."""
    write_text(path, json.dumps(content, indent=2, default=str, ensure_ascii=False) + "\n")
