"""How much memory is free."""

from __future__ import annotations

import os
from pathlib import Path


def available_bytes() -> int:
    """Bytes that this machine can give to new work; half of all where the system won't say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kibibytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        return int(kibibytes) * 1024
    except (OSError, StopIteration, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
