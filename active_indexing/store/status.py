"""What there is to know about a store at a glance."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from active_indexing.store import cache
from active_indexing.store.archive import Store


@dataclass(frozen=True)
class LastRun:
    """The newest release.

    Attributes:
        started_at: UTC time, ISO 8601.
        released: images.
        failures: (source, reason) of images that could not be released.
        settings: of the run, with the versions of all libraries.
    """

    started_at: str
    released: int
    failures: list[tuple[str, str]]
    settings: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class StoreStatus:
    """A store at one moment.

    Attributes:
        released: images that are found.
        removed: images that were taken down.
        descriptor: name of the descriptor that is frozen.
        factory: FAISS factory string of the index.
        metric: ``L2`` or ``IP``.
        method: activation method, ``passive`` for images released as they are.
        entries: codes per image.
        index_file: the newest FAISS file; ``None`` before the first.
        behind: images that came after it, which readers take from the database.
        verified: images that were ever verified.
        damaged: of them those that were damaged the last time.
        last_run: ``None`` before the first.
    """

    released: int
    removed: int
    descriptor: str
    factory: str
    metric: str
    method: str
    entries: int
    index_file: Path | None
    behind: int
    verified: int
    damaged: int
    last_run: LastRun | None


def status_of(store: Store) -> StoreStatus:
    """The status of an open store; costs the same whatever it holds, but for the count of verifications."""
    file, last = cache.newest(store.folder), store.database.last_run()
    verified, damaged = store.database.verified()
    return StoreStatus(
        released=store.database.count_released(),
        removed=store.database.removals(),
        descriptor=str(store.contract.descriptor["name"]),
        factory=str(store.contract.index["factory"]),
        metric=str(store.contract.index["metric"]),
        method=store.contract.method,
        entries=store.contract.entries,
        index_file=None if file is None else file.path,
        behind=store.database.last_seq() - (0 if file is None else file.last),
        verified=verified,
        damaged=damaged,
        last_run=None
        if last is None
        else LastRun(last["started_at"], last["released"], last["failures"], last["settings"]),
    )
