"""Which image an input file is: ids from contents, so that neither a name nor a folder decides."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from active_indexing.artefacts.identity import file_state
from active_indexing.artefacts.journal import KeyedJournal
from active_indexing.images.inventory import id_of_sha256
from active_indexing.parallel.progress import progress_bar
from active_indexing.records import PROTECTED_BASE, SourceImage
from active_indexing.release.folder import NAMES, released_items


@dataclass(frozen=True)
class _Released:
    """A file that was released: its key in the journal, its id, and where its input was."""

    key: int
    id: int
    source: str


def identified(
    sources: Sequence[SourceImage], journal: KeyedJournal, *, progress: bool = False
) -> list[SourceImage]:
    """The inputs with the ids of their contents, and each with the released file that is its own.

    An input whose bytes were released before, under whatever name, is that image. Two equal files have one
    id and two released files. Runs of older programs, whose ids came from names, keep them.

    Args:
        sources: with the ids of their names, as ``inventory`` gives them.
        journal: of released images; a file whose path, size and time are on record is not read again.
        progress: show a bar with an estimate.

    Returns:
        The same inputs in the same order. One that cannot be read keeps the id of its name.
    """
    states: dict[str, dict[str, Any]] = {}
    earlier: dict[str, list[_Released]] = {}
    for key, item in released_items(journal):
        if item["input"] is not None:
            row = item["row"]
            states[row["source"]] = item["input"]
            earlier.setdefault(item["input"]["sha256"], []).append(_Released(key, row["id"], row["source"]))
    bar = progress_bar(sources, desc="identify", unit="img", disable=not progress)
    hashed = [replace(source, sha256=_sha256(source, states.get(str(source.path)))) for source in bar]
    reserved = {key for key, _ in (journal.get(NAMES) or {NAMES: []})[NAMES]}
    used = {each.key for copies in earlier.values() for each in copies}
    found: dict[str, SourceImage] = {}
    for source in hashed:  # first those that are where they were
        copies = earlier.get(source.sha256, [])
        for each in copies:
            if each.source == str(source.path) or each.key == source.id:
                found[source.name] = replace(source, id=each.id, slot=each.key)
                copies.remove(each)
                break
    for source in hashed:
        if source.name not in found:
            found[source.name] = _placed(source, earlier.get(source.sha256, []), reserved, used)
    return [found[source.name] for source in sources]


def _placed(source: SourceImage, copies: list[_Released], reserved: set[int], used: set[int]) -> SourceImage:
    """An input that is not where it was: renamed, new, a further copy, or unreadable."""
    if copies:
        renamed = copies.pop(0)
        return replace(source, id=renamed.id, slot=renamed.key)
    pending = source.id in reserved and source.id not in used  # in a killed run of an older program
    image = source.id if pending or not source.sha256 else id_of_sha256(source.sha256)
    number, key = 0, image
    while key in used:
        number += 1
        key = _slot(image, number)
    used.add(key)
    return replace(source, id=image, slot=key)


def _slot(image: int, number: int) -> int:
    """Key of the n-th further file of these contents, in [2**62, 2**63)."""
    digest = hashlib.sha256(f"{image} {number}".encode()).digest()
    return PROTECTED_BASE | (int.from_bytes(digest[:8], "big") >> 2)


def _sha256(source: SourceImage, state: dict[str, Any] | None) -> str:
    """SHA-256 of an input, on record or read; empty when it cannot be read."""
    if state is not None:
        try:
            status = source.path.stat()
        except OSError:
            return ""
        if (status.st_size, status.st_mtime_ns) == (state["size"], state["mtime_ns"]):
            return str(state["sha256"])
    now = file_state(source.path)
    return "" if now is None else str(now["sha256"])
