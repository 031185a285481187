"""What C++ libraries print straight to the standard error of the process."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_native_lines(start: bytes) -> Iterator[None]:
    """Leave out lines that begin with ``start``; whatever else is printed comes when the block ends.

    They are written to file descriptor 2, which is one for all threads: the block belongs to the main one.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile("w+b") as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            captured.seek(0)
            kept = [line for line in captured if not line.startswith(start)]
            sys.stderr.write(b"".join(kept).decode(errors="replace"))


@contextmanager
def in_words(what: str) -> Iterator[None]:
    """Turn an error of FAISS into a ValueError ``<what>: <what FAISS said>``."""
    try:
        yield
    except RuntimeError as error:
        raise ValueError(f"{what}: {reason(error)}") from error


def reason(error: Exception) -> str:
    """What FAISS said, without its function signature and source location."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    text = text.rsplit(".cpp:", 1)[-1].split(": ", 1)[-1] if ".cpp:" in text else text
    return text.strip().rstrip(".") + "."
