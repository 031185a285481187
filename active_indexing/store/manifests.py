"""Content Credentials (C2PA) that a store keeps, to be given back to who finds a copy without them."""

from __future__ import annotations

from collections.abc import Sequence

from active_indexing.artefacts.identity import sha256_bytes
from active_indexing.store.tables import IDS_AT_ONCE, Database


def manifest_ids(database: Database, images: Sequence[int]) -> dict[int, str]:
    """Image -> id of its manifest, of the released images among these that have one."""
    found: dict[int, str] = {}
    for start in range(0, len(images) if _are_kept(database) else 0, IDS_AT_ONCE):
        some = [int(image) for image in images[start : start + IDS_AT_ONCE]]
        query = (
            "SELECT id, manifest FROM manifests JOIN images USING (seq) WHERE status = 'released' "
            f"AND id IN ({', '.join('?' * len(some))})"
        )
        found |= dict(database.rows_of(query, some))
    return found


def manifest_content(database: Database, manifest: str) -> bytes | None:
    """The manifest store with this active manifest; ``None`` when no released image has it."""
    if not _are_kept(database):
        return None
    query = "SELECT content FROM manifests JOIN images USING (seq) WHERE status = 'released' AND manifest = ?"
    rows = database.rows_of(query, (manifest,))
    return bytes(rows[0][0]) if rows else None


def is_whole(database: Database, seq: int) -> bool:
    """Whether the manifest store at a place has the bytes that were written; also where there is none."""
    if not _are_kept(database):
        return True
    rows = database.rows_of("SELECT sha256, content FROM manifests WHERE seq = ?", (seq,))
    return all(sha256_bytes(content) == sha256 for sha256, content in rows)


def _are_kept(database: Database) -> bool:
    """Whether the database has the table: stores of older programs get it when they are written to."""
    return bool(database.rows_of("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'manifests'"))
