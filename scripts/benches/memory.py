"""Memory of a process and its children."""

from __future__ import annotations

from pathlib import Path

POLL_SECONDS = 0.2


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it has ended meanwhile
        children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    family = [pid]
    for member in family:
        family.extend(children.get(member, []))
    return family


def pss_kib(pid: int, kind: str = "Pss") -> int:
    """Memory of one process, pages shared by n processes counted as 1/n.

    Args:
        pid: of the process.
        kind: ``Pss``, or ``Pss_Anon`` without what is mapped from files: the share of a library grows when
            another program that uses it ends.
    """
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")), 0)
