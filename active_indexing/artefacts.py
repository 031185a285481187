"""Files that are whole or absent, and names for what made them."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

_PREFIX, _SUFFIX = ".writing-", ".tmp"


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
    handle, temporary = tempfile.mkstemp(prefix=_PREFIX, suffix=_SUFFIX, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def remove_leftovers(folders: Iterable[Path]) -> None:
    """Remove the temporary files that a killed ``atomic_file`` left in these folders.

    Args:
        folders: folders that no other process writes to; missing ones are passed over.
    """
    for folder in folders:
        for path in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
            path.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically."""
    with atomic_file(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON atomically; paths are written as text."""
    write_text(path, json.dumps(content, indent=2, default=str, ensure_ascii=False) + "\n")


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits, in constant memory."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(content: Any) -> str:
    """SHA-256 of a JSON-serialisable value; equal values give equal fingerprints whatever the key order."""
    canonical = json.dumps(content, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def file_state(path: Path) -> dict[str, Any] | None:
    """Size, time and SHA-256 of a file, for ``is_unchanged``; ``None`` when there is no readable file."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a named pipe would wait for ever
            return None
        return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": sha256_file(path)}
    except OSError:
        return None


def is_unchanged(path: Path, state: dict[str, Any] | None) -> bool:
    """Whether a file still holds what it held when ``file_state`` was asked.

    Equal size and time are believed; with another time the bytes decide.
    """
    try:
        status = path.stat()
    except OSError:
        return False
    if state is None or status.st_size != state["size"]:
        return False
    if status.st_mtime_ns == state["mtime_ns"]:
        return True
    now = file_state(path)
    return now is not None and now["sha256"] == state["sha256"]
