"""Is all there, as it was written? Every file, hash, code and vector, least recently verified first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from active_indexing.artefacts.atomic import unlink
from active_indexing.artefacts.identity import sha256_file
from active_indexing.index.code_index import Codec
from active_indexing.parallel.progress import progress_bar
from active_indexing.store import cache, remedies
from active_indexing.store.archive import BASE_INDEX, STRANGERS, TRAINED_INDEX, Store
from active_indexing.store.errors import StoreError
from active_indexing.store.leftovers import leftovers
from active_indexing.store.manifests import is_whole
from active_indexing.store.rows import RELEASED, StoredImage

NOTED_AT_ONCE = 100
"""Images whose verification is recorded in one transaction: a killed ``verify`` does so many again."""

ROUNDING = 0.01
"""Of the squared distance of a descriptor to its decoded code; half floats move it by less than 0.002."""

FROM_A_COPY = "put it back from a copy of the store (docs/store.md)"
"""The way back of a database that is damaged."""


@dataclass(frozen=True)
class Damage:
    """Something that is not as it was written.

    Attributes:
        what: the file, or the id of the image.
        how: what is wrong, in words.
        remedy: what can be done.
        fix: does it; ``None`` where only people can.
    """

    what: str
    how: str
    remedy: str
    fix: Callable[[], object] | None = None


@dataclass
class Verification:
    """What was verified.

    Attributes:
        damage: all that is wrong.
        checked: images verified now.
        recent: images passed over because they were verified lately.
        left: images that there was no time for.
        unread: whether there was no time to check all of the database file.
    """

    damage: list[Damage] = field(default_factory=list)
    checked: int = 0
    recent: int = 0
    left: int = 0
    unread: bool = False


def verify(
    store: Store,
    *,
    max_age: float | None = None,
    max_duration: float | None = None,
    record: bool = True,
    progress: bool = False,
) -> Verification:
    """Verify a store.

    Args:
        store: open for writing when ``record``.
        max_age: seconds; images verified within them are passed over, but for those that were damaged.
        max_duration: seconds after which no further image is begun; the database file as a whole, 19 GB of
            ten million images, gets half of them at most.
        record: keep when each image was verified.
        progress: show a bar with an estimate.
    """
    begun = time.time()
    wrong = store.database.integrity(None if max_duration is None else begun + max_duration / 2)
    result = Verification(unread=wrong is None)
    if wrong:
        result.damage += [Damage(str(store.database.path), text, FROM_A_COPY) for text in wrong]
        return result
    result.damage += structure(store)
    codes_known = not any(each.what.endswith(TRAINED_INDEX.name) for each in result.damage)
    todo = places_in_order(store, begun - max_age if max_age is not None else None, result)
    noted: list[tuple[int, float, str]] = []
    rows = progress_bar(_rows(store, todo), total=len(todo), desc="verify", unit="img", disable=not progress)
    for done, row in enumerate(rows):
        if max_duration is not None and time.time() - begun > max_duration:
            result.left = len(todo) - done
            break
        found = [*file_damage(store, row), *manifest_damage(store, row)]
        found += vector_damage(store, row) if codes_known else ()
        result.damage += found
        result.checked += 1
        noted.append((row.seq, time.time(), "; ".join(each.how for each in found)))
        if record and len(noted) == NOTED_AT_ONCE:
            store.database.note_checks(noted)
            noted.clear()
    if record and noted:
        store.database.note_checks(noted)
    return result


def structure(store: Store) -> Iterator[Damage]:
    """Damage of all but the images: counts, the files of the contract, the cache, foreign files."""
    yield from _counts(store)
    yield from _contract_files(store)
    file = cache.newest(store.folder)
    damage = "" if file is None else file.damage(hashed=True)
    if file is not None and damage:
        yield Damage(str(file.path), damage, "make it again from the codes", store.save_cache)
    for path, how in leftovers(store):
        yield Damage(str(path), how, "delete it", partial(unlink, path))


def _counts(store: Store) -> Iterator[Damage]:
    rows, removed = store.database.counted()
    last, name = store.database.last_seq(), str(store.database.path)
    if rows != last:
        yield Damage(name, f"{last - rows:,} of its {last:,} rows are missing", FROM_A_COPY)
    if removed != store.database.removals():
        yield Damage(name, "it counts removed images wrongly", "count them", store.database.count_again)


def file_damage(store: Store, row: StoredImage) -> Iterator[Damage]:
    """Damage of the released file of an image."""
    path = row.path(store.folder)
    try:
        whole = path.stat().st_size == row.size and sha256_file(path) == row.released_sha256
        how = "" if whole else "the released file has changed"
    except OSError as error:
        how = f"the released file can't be read ({error.strerror})"
    if how:
        remedy = f"put {path} back from a copy; its SHA-256 is {row.released_sha256}"
        yield Damage(_name(row), how, remedy)


def manifest_damage(store: Store, row: StoredImage) -> Iterator[Damage]:
    """Damage of the Content Credentials that the store keeps of an image."""
    if not is_whole(store.database, row.seq):
        yield Damage(_name(row), "its C2PA manifest has changed", "put the database back from a copy")


def vector_damage(store: Store, row: StoredImage) -> Iterator[Damage]:
    """Damage of the codes and descriptors of an image."""
    kept, vectors = store.database.vectors_of(row.seq)
    count, dim, size = store.contract.entries, store.codec.dim, store.codec.code_size
    whole = vectors is not None and len(vectors) == 2 * dim * (1 + count)
    values = np.frombuffer(vectors or b"", "<f2").astype(np.float32)
    if not whole or not np.isfinite(values).all() or not _are_unit(values.reshape(-1, dim)[:1]):
        yield Damage(
            _name(row), "its descriptors are missing or damaged", "put the database back from a copy"
        )
        return
    entries = values.reshape(-1, dim)[1:]
    told = np.frombuffer(kept or b"", np.uint8)
    right = len(told) == size * count and _are_codes_of(store.codec, told.reshape(-1, size), entries)
    if not right or store.codec.cells(told.reshape(-1, size))[0] != row.cell:
        yield Damage(
            _name(row),
            "its codes are missing or not those of its descriptors",
            "encode its descriptors again",
            lambda: remedies.encode_again(store, row.seq, entries),
        )


def _name(row: StoredImage) -> str:
    return f"{row.id} ({row.released})"


def _are_unit(vectors: np.ndarray) -> bool:
    return bool((np.abs(np.linalg.norm(vectors, axis=1) - 1) < ROUNDING).all())


def _are_codes_of(codec: Codec, told: np.ndarray, entries: np.ndarray) -> bool:
    """Whether the codes say about these vectors as much as their own codes would."""
    error = np.square(codec.decode(told) - entries).sum(axis=1)
    own = np.square(codec.decode(codec.encode(entries)) - entries).sum(axis=1)
    return bool((error <= own + ROUNDING).all())


def _contract_files(store: Store) -> Iterator[Damage]:
    index = store.contract.index
    base = _is_whole(store, BASE_INDEX, index["references"])
    if not base:
        yield Damage(str(store.folder / BASE_INDEX), "missing or changed", "put it back from a copy")
    from_base = "make it again from base.index" if base else "put it back from a copy"
    if not _is_whole(store, TRAINED_INDEX, index["training"]):
        fix = (lambda: remedies.write_trained(store)) if base else None
        yield Damage(str(store.folder / TRAINED_INDEX), "missing or changed", from_base, fix)
    try:
        _ = store.strangers
    except StoreError:
        fix = (lambda: remedies.write_strangers(store)) if base else None
        yield Damage(str(store.folder / STRANGERS), "missing or damaged", from_base, fix)
    for name, sha256 in store.carried.get("sha256", {}).items():
        if not _is_whole(store, Path("contract") / name, sha256):
            yield Damage(
                str(store.folder / "contract" / name), "missing or changed", "put it back from a copy"
            )


def _is_whole(store: Store, name: Path, sha256: str) -> bool:
    try:
        return sha256_file(store.folder / name) == sha256
    except OSError:
        return False


def places_in_order(store: Store, since: float | None, result: Verification) -> np.ndarray:
    """Places (N,) int64 of the images to verify: known damage first, then the least recently verified.

    Args:
        store: open.
        since: UNIX time; images verified after it are counted as recent, but for those that were damaged.
        result: counts the recent ones.
    """
    chunks = [*store.database.checks()]
    if not chunks:
        return np.empty(0, np.int64)
    known = np.concatenate(chunks)
    if since is not None:
        due = (known["at"] < since) | known["damaged"]
        result.recent = int(len(known) - due.sum())
        known = known[due]
    return known["seq"][np.lexsort((known["seq"], known["at"], ~known["damaged"]))]


def _rows(store: Store, places: np.ndarray) -> Iterator[StoredImage]:
    """Rows at these places; those that were removed meanwhile are passed over."""
    for start in range(0, len(places), NOTED_AT_ONCE):
        rows = store.database.images_at(places[start : start + NOTED_AT_ONCE].tolist())
        yield from (row for row in rows if row.status == RELEASED)
