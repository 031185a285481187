"""The index as a FAISS file: a copy of the codes in the database, and nothing that could be lost.

``cache/<last>-<removals>.index`` holds the codes of the images up to place ``last`` that were not among the
first ``removals`` removed ones; the side-car with its size and SHA-256 is written before it. A reader adds
what came later from the database, so the file is written anew only when that has become much: adding costs
what is added, whatever the store holds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from active_indexing.artefacts.atomic import fsync_folder, write_bytes, write_json
from active_indexing.artefacts.identity import sha256_bytes, sha256_file
from active_indexing.index.code_index import Codec, CodeIndex, IndexFileError, code_index_of, read_code_index
from active_indexing.store.tables import Database

FOLDER = "cache"

LEAST_CHANGES = 10_000
"""Images added or removed before the file is written anew; adding so many codes takes a reader 20 ms."""

SHARE_OF_CHANGES = 0.25
"""... and their share of what the file holds: the cost of writing it is spread over as many additions."""

READ_AT_OPENING = 64 << 20
"""Bytes of a file that is read and hashed as a whole whenever it is opened (50 ms). A larger one is mapped
into memory, its size compared, and ``store verify`` hashes it."""


@dataclass(frozen=True)
class CacheFile:
    """An index file and what its side-car says.

    Attributes:
        path: the index file.
        last: place of the last image in it.
        removals: removals that it knows of.
        size: its bytes.
        sha256: of its bytes.
    """

    path: Path
    last: int
    removals: int
    size: int
    sha256: str

    def damage(self, hashed: bool) -> str:
        """What is wrong with the file, in words; empty when nothing is.

        Args:
            hashed: compare every byte.
        """
        try:
            size = self.path.stat().st_size
        except OSError:
            return "it is missing"
        if size != self.size:
            return f"it has {size:,} bytes instead of {self.size:,}"
        if hashed and sha256_file(self.path) != self.sha256:
            return "its bytes have changed"
        return ""


def newest(folder: Path) -> CacheFile | None:
    """The newest index file of a store that a side-car tells of; ``None`` without one."""
    found = [_side_car(path) for path in (folder / FOLDER).glob("*.json")]
    whole = [each for each in found if each is not None]
    return max(whole, key=lambda each: (each.last, each.removals), default=None)


def save(folder: Path, database: Database, codec: Codec) -> Path:
    """Write the index file from the codes, and delete older ones.

    Returns:
        The index file.
    """
    last, removals = database.last_seq(), database.removals()
    content = codec.new_index().fill(database.codes(codec.code_size, last=last)).to_bytes()
    path = folder / FOLDER / f"{last}-{removals}.index"
    side_car = {"last": last, "removals": removals, "size": len(content), "sha256": sha256_bytes(content)}
    write_json(path.with_suffix(".json"), side_car)
    write_bytes(path, content)
    remove_older(folder)
    return path


def remove_older(folder: Path) -> None:
    """Delete index files that a newer one has replaced; those who have them open go on reading."""
    file = newest(folder)
    older = (
        [] if file is None else [each for each in (folder / FOLDER).iterdir() if each.stem != file.path.stem]
    )
    for each in older:
        each.unlink(missing_ok=True)
    if older:
        fsync_folder(folder / FOLDER)


def load(folder: Path, database: Database, codec: Codec) -> tuple[CodeIndex, int, str]:
    """The index of a store.

    Returns:
        An index, the place of the last image in it, and what was wrong with its file, in words; when
        something was, the index is made from the codes, in memory.
    """
    file = newest(folder)
    if file is None:
        return codec.new_index(), 0, ""
    damage = file.damage(hashed=False)
    if file.last > database.last_seq() or file.removals > database.removals():
        damage = "it is newer than the database"
    if not damage:
        try:
            return _opened(file), file.last, ""
        except (IndexFileError, OSError) as error:
            damage = str(error)
    last = database.last_seq()
    return codec.new_index().fill(database.codes(codec.code_size, last=last)), last, f"{file.path}: {damage}"


def _opened(file: CacheFile) -> CodeIndex:
    if file.size > READ_AT_OPENING:
        return read_code_index(file.path)
    content = file.path.read_bytes()
    if sha256_bytes(content) != file.sha256:
        raise IndexFileError("its bytes have changed")
    return code_index_of(content)


def is_due(folder: Path, database: Database) -> bool:
    """Whether so much has changed that the file should be written anew."""
    file = newest(folder)
    last, removals = (0, 0) if file is None else (file.last, file.removals)
    changes = database.last_seq() - last + database.removals() - removals
    return changes >= max(LEAST_CHANGES, SHARE_OF_CHANGES * last)


def _side_car(path: Path) -> CacheFile | None:
    try:
        content = json.loads(path.read_text())
        return CacheFile(path=path.with_suffix(".index"), **content)
    except (OSError, ValueError, TypeError):
        return None
