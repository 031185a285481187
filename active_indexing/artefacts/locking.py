"""One writer at a time, among all processes of a machine."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POLL_SECONDS = 0.05


@contextmanager
def exclusive_lock(path: Path, wait: float = 0) -> Iterator[None]:
    """Hold a lock until the block ends; it is let go when the process dies, however it dies.

    Args:
        path: of the lock file, which stays; the number of the process that holds it is written into it.
        wait: seconds to wait for another process that holds it.

    Raises:
        BlockingIOError: another process still holds it after ``wait`` seconds.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _take(handle, time.monotonic() + wait)
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


def holder_of(path: Path) -> str:
    """Who holds a lock, for people."""
    try:
        return f"process {int(path.read_text())}"
    except (OSError, ValueError):
        return "unknown process"


def _take(handle: int, until: float) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(POLL_SECONDS)
