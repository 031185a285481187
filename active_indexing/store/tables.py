"""Rows of images, their codes and descriptors: what is written into the database and read from it.

Codes and descriptors have tables of their own, so that reading all rows, or all codes, does not read the half
kilobyte of every descriptor.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from active_indexing.artefacts.identity import sha256_bytes
from active_indexing.store.database import Connection
from active_indexing.store.rows import RELEASED, REMOVED, NewImage, StoredImage

IDS_AT_ONCE = 500
"""SQLite took at most 999 parameters a statement before 3.32."""

_COLUMNS = ", ".join(StoredImage.__dataclass_fields__)


class Database(Connection):
    """The record of truth; every change is one transaction."""

    def meta(self, key: str) -> str | None:
        """A value that the store keeps about itself."""
        found = self.rows_of("SELECT value FROM meta WHERE key = ?", (key,))
        return found[0][0] if found else None

    def set_meta(self, key: str, value: str) -> None:
        """Keep a value about the store itself."""
        with self.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def begin_run(self, settings: dict[str, Any]) -> int:
        """Note a run; gives its number."""
        text = json.dumps(settings, default=str)
        with self.transaction() as connection:
            added = connection.execute("INSERT INTO runs (started_at, settings) VALUES (?, ?)", (now(), text))
            return int(added.lastrowid or 0)

    def insert(
        self, run: int, images: Sequence[NewImage], codes: Sequence[np.ndarray], cells: Sequence[int]
    ) -> None:
        """Write the rows of images that are on the disk, all or none.

        Args:
            run: number of the run.
            images: N of them.
            codes: of each, (K, code_size) uint8.
            cells: of each image's first code.

        Raises:
            StoreError: an image that is there already, or a full disk; nothing was written.
        """
        when = now()
        with self.transaction() as connection:
            for image, code, cell in zip(images, codes, cells, strict=True):
                row = (
                    image.id, image.source, image.source_sha256, image.released, name_key(image.released),
                    image.released_sha256, image.size, image.width, image.height, image.psnr, image.ssim,
                    image.linf, json.dumps(image.quality), int(cell), run, when, RELEASED,
                )  # fmt: skip
                added = connection.execute(
                    "INSERT INTO images (id, source, source_sha256, released, name_key, "
                    "released_sha256, size, "
                    "width, height, psnr, ssim, linf, quality, cell, run, released_at, status) "
                    f"VALUES ({', '.join('?' * len(row))})",
                    row,
                )
                seq = added.lastrowid
                vectors = np.concatenate([image.descriptor[None], image.entries]).astype("<f2")
                connection.execute("INSERT INTO codes VALUES (?, ?)", (seq, code.tobytes()))
                connection.execute("INSERT INTO descriptors VALUES (?, ?)", (seq, vectors.tobytes()))
                if image.manifest is not None:
                    content = image.manifest.content
                    kept = (seq, image.manifest.id, sha256_bytes(content), content)
                    connection.execute("INSERT INTO manifests VALUES (?, ?, ?, ?)", kept)

    def remove(self, image_id: int) -> StoredImage | None:
        """Take codes, descriptors and name of an image away; ``None`` without a released image of this id.

        The row stays, so that the same source is not released again by the next run over its folder.
        """
        with self.transaction() as connection:
            found = self.images([image_id])
            if not found or found[0].status == REMOVED:
                return None
            row = found[0]
            connection.execute(
                "UPDATE images SET status = ?, removed_at = ?, name_key = NULL WHERE seq = ?",
                (REMOVED, now(), row.seq),
            )
            for table in ("codes", "descriptors", "checks", "manifests"):
                connection.execute(f"DELETE FROM {table} WHERE seq = ?", (row.seq,))
            connection.execute(
                "INSERT INTO meta VALUES ('removals', '1') "
                "ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1"
            )
            return row

    def replace_codes(self, seq: int, codes: bytes, cell: int) -> None:
        """Write the codes of an image anew."""
        with self.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO codes VALUES (?, ?)", (seq, codes))
            connection.execute("UPDATE images SET cell = ? WHERE seq = ?", (cell, seq))

    def vectors_of(self, seq: int) -> tuple[bytes | None, bytes | None]:
        """Codes and float16 descriptors at a place, as they are kept."""
        found = [
            self.rows_of(f"SELECT {column} FROM {table} WHERE seq = ?", (seq,))
            for table, column in (("codes", "codes"), ("descriptors", "float16"))
        ]
        return tuple(rows[0][0] if rows else None for rows in found)  # type: ignore[return-value]

    def note_failures(self, run: int, failures: Iterable[tuple[str, str]]) -> None:
        """Keep (source, reason) of images that a run could not release."""
        rows = [(run, source, reason) for source, reason in failures]
        if rows:
            with self.transaction() as connection:
                connection.executemany("INSERT INTO failures VALUES (?, ?, ?)", rows)

    def last_run(self) -> dict[str, Any] | None:
        """Number, time, settings, count and failures of the newest run; ``None`` before the first."""
        rows = self.rows_of("SELECT run, started_at, settings FROM runs ORDER BY run DESC LIMIT 1")
        if not rows:
            return None
        run, started, settings = rows[0]
        # Backwards from the newest row: the cost is that of the run, whatever the store holds.
        before = self.rows_of("SELECT seq FROM images WHERE run < ? ORDER BY seq DESC LIMIT 1", (run,))
        released = self.last_seq() - (before[0][0] if before else 0)
        failures = self.rows_of("SELECT source, reason FROM failures WHERE run = ?", (run,))
        return {
            "run": run, "started_at": started, "settings": json.loads(settings), "released": released,
            "failures": failures,
        }  # fmt: skip

    def note_checks(self, checks: Iterable[tuple[int, float, str]]) -> None:
        """Keep (seq, UNIX time, damage or an empty text) of images that were verified."""
        with self.transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO checks VALUES (?, ?, ?)", checks)

    def images(self, ids: Sequence[int]) -> list[StoredImage]:
        """Rows of the ids that are known, removed ones too, in the order of arrival."""
        return [StoredImage(*row) for row in self._of_ids(f"SELECT {_COLUMNS} FROM images WHERE id", ids)]

    def images_at(self, places: Sequence[int]) -> list[StoredImage]:
        """Rows at these places in the order of arrival, those that there are, in the order of the places."""
        found = {row[0]: row for row in self._of_ids(f"SELECT {_COLUMNS} FROM images WHERE seq", places)}
        return [StoredImage(*found[place]) for place in places if place in found]

    def released_ids(self, places: Sequence[int]) -> list[int]:
        """Ids of the released images at these places in the order of arrival, in the order of the places."""
        query = "SELECT seq, id FROM images WHERE status = 'released' AND seq"
        found = dict(self._of_ids(query, places))
        return [found[place] for place in places if place in found]

    def find(self, column: str, value: str) -> StoredImage | None:
        """The row with this ``source_sha256``, ``released_sha256`` or ``name_key``, the first that came."""
        if column not in ("source_sha256", "released_sha256", "name_key"):
            raise ValueError(f"no column {column!r} to find images by.")
        rows = self.rows_of(
            f"SELECT {_COLUMNS} FROM images WHERE {column} = ? ORDER BY seq LIMIT 1", (value,)
        )
        return StoredImage(*rows[0]) if rows else None

    def descriptors(self, ids: Sequence[int]) -> dict[int, np.ndarray]:
        """Id -> (1 + K, D) float32 of released images: the released file's, then its entries'."""
        rows = self._of_ids(
            "SELECT id, float16 FROM images JOIN descriptors USING (seq) WHERE status = 'released' AND id",
            ids,
        )
        dim = int(self.meta("dim") or 0)
        return {row[0]: np.frombuffer(row[1], "<f2").astype(np.float32).reshape(-1, dim) for row in rows}

    def find_name(self, released: str) -> StoredImage | None:
        """The row whose released file has this name, whatever its case."""
        return self.find("name_key", name_key(released))

    def rows(self, status: str = RELEASED, after: int = 0) -> Iterator[StoredImage]:
        """Rows of one status in the order of arrival, those after a place."""
        query = f"SELECT {_COLUMNS} FROM images WHERE status = ? AND seq > ? ORDER BY seq LIMIT 1000"
        while found := [StoredImage(*row) for row in self.rows_of(query, (status, after))]:
            yield from found
            after = found[-1].seq

    def vectors(
        self, after: int = 0, chunk: int = 20_000
    ) -> Iterator[tuple[np.ndarray, list[bytes], list[bytes]]]:
        """(ids, codes, float16 descriptors) of released images in the order of arrival, chunk by chunk."""
        query = (
            "SELECT seq, id, codes, float16 FROM images JOIN codes USING (seq) JOIN descriptors USING (seq) "
            "WHERE seq > ? ORDER BY seq LIMIT ?"
        )
        while found := self.rows_of(query, (after, chunk)):
            after = found[-1][0]
            yield np.array([row[1] for row in found]), [row[2] for row in found], [row[3] for row in found]

    def codes(
        self, code_size: int, after: int = 0, last: int | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(ids (N,) int64, codes (N, code_size) uint8) of every entry, in the order of arrival, by chunks."""
        query = (
            "SELECT seq, id, codes FROM codes JOIN images USING (seq) WHERE seq > ? AND seq <= ? "
            "ORDER BY seq LIMIT 50000"
        )
        end = (1 << 62) if last is None else last
        while found := self.rows_of(query, (after, end)):
            after = found[-1][0]
            codes = np.frombuffer(b"".join(row[2] for row in found), np.uint8).reshape(-1, code_size)
            counts = [len(row[2]) // code_size for row in found]
            yield np.repeat(np.array([row[1] for row in found], np.int64), counts), codes

    def last_seq(self) -> int:
        """Place of the newest image, 0 in an empty store."""
        return int(self.rows_of("SELECT coalesce(max(seq), 0) FROM images")[0][0])

    def removals(self) -> int:
        """How many images were ever removed."""
        return int(self.meta("removals") or 0)

    def counts(self) -> dict[str, int]:
        """Number of images by status, those that there are.

        Rows are never deleted, so the newest place is their number, whatever the store holds:
        counting them takes 0.3 s among a million, and every verdict needs the number.
        """
        last, removed = self.last_seq(), self.removals()
        counts = {RELEASED: last - removed, REMOVED: removed}
        return {status: count for status, count in counts.items() if count}

    def count_released(self) -> int:
        """Number of released images."""
        return self.last_seq() - self.removals()

    def counted(self) -> tuple[int, int]:
        """Rows, and removed ones among them, counted one by one."""
        query = "SELECT count(*), coalesce(sum(status = 'removed'), 0) FROM images"
        rows, removed = self.rows_of(query)[0]
        return rows, removed

    def count_again(self) -> None:
        """Set the number of removals to what the rows say."""
        self.set_meta("removals", str(self.counted()[1]))

    def verified(self) -> tuple[int, int]:
        """How many images were ever verified, and how many of them were damaged the last time."""
        query = "SELECT count(*), coalesce(sum(damage != ''), 0) FROM checks"
        count, damaged = self.rows_of(query)[0]
        return count, damaged

    def checks(self, chunk: int = 50_000) -> Iterator[np.ndarray]:
        """(seq, UNIX time of the last verification or 0, whether it found damage) of released images.

        Chunks of structured rows (int64, float64, bool) in the order of arrival, so that the memory of ten
        million is 170 MB.
        """
        query = (
            "SELECT seq, coalesce(checked_at, 0), coalesce(damage, '') != '' FROM images "
            "LEFT JOIN checks USING (seq) WHERE status = 'released' AND seq > ? ORDER BY seq LIMIT ?"
        )
        kinds = [("seq", np.int64), ("at", np.float64), ("damaged", np.bool_)]
        after = 0
        while found := self.rows_of(query, (after, chunk)):
            after = found[-1][0]
            yield np.array(found, kinds)

    def _of_ids(self, query: str, ids: Sequence[int]) -> list[Any]:
        found: list[Any] = []
        for start in range(0, len(ids), IDS_AT_ONCE):
            some = [int(image_id) for image_id in ids[start : start + IDS_AT_ONCE]]
            found += self.rows_of(f"{query} IN ({', '.join('?' * len(some))}) ORDER BY seq", some)
        return found


def now() -> str:
    """UTC time, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def name_key(released: str) -> str:
    """A name without case, as some file systems compare them."""
    return released.casefold()
