"""Names for what made a file: SHA-256, fingerprints, and whether a file has changed."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path
from typing import Any


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits, in constant memory."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_bytes(content: bytes) -> str:
    """SHA-256 of bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def fingerprint(content: Any) -> str:
    """SHA-256 of a JSON-serialisable value; equal values give equal fingerprints whatever the key order."""
    canonical = json.dumps(content, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(canonical.encode(errors="backslashreplace")).hexdigest()


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
