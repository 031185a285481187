"""Candidates from the index of a store that others add to and remove from meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from active_indexing.store import cache
from active_indexing.store.archive import Store

LEAST_CODES = 5000
"""Codes that a search looks at where the store has as many: more cells are visited while they hold little.
Looking at 5,000 codes takes 0.1 ms."""


class CandidateSearch:
    """The index file of a store, and in memory what was added since; safe in threads.

    Removed images may still be among the candidates: whoever reads their rows sees that they are gone.

    Args:
        store: open.

    Attributes:
        damage: what is wrong with the index file, in words; empty when nothing is.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._index, self._last, self.damage = cache.load(store.folder, store.database, store.codec)
        self._tail = store.codec.new_index()

    def candidates(self, descriptors: np.ndarray, k: int, nprobe: int) -> list[int]:
        """Ids of the images whose codes are nearest to any of the descriptors.

        Args:
            descriptors: (N, D) float32.
            k: images wanted of each.
            nprobe: cells visited for each, or more of a small store, see ``LEAST_CODES``.

        Returns:
            Ids, each once, ascending.
        """
        with self._lock:
            self._refresh()
            indexes = [index for index in (self._index, self._tail) if index.ntotal]
            codes, cells = sum(index.ntotal for index in indexes), self._store.codec.nlist
            nprobe = min(cells, max(nprobe, -(-cells * LEAST_CODES // max(1, codes))))
            found = [index.search(descriptors, k * self._store.contract.entries, nprobe) for index in indexes]
        ids = [near.first_of_each(k).ids for answers in found for near in answers]
        return np.unique(np.concatenate([np.empty(0, np.int64), *ids])).tolist()

    def _refresh(self) -> None:
        """Add what has come since the last question."""
        last = self._store.database.last_seq()
        if last > self._last:
            code_size = self._store.codec.code_size
            self._tail.fill(self._store.database.codes(code_size, after=self._last, last=last))
            self._last = last


def sample_ids(store: Store, count: int, seed: int = 0) -> Sequence[int]:
    """Ids of released images picked at random, all of them when there are not more than ``count``."""
    database = store.database
    total = database.last_seq()
    rng = np.random.default_rng(seed)
    if database.count_released() <= count or total <= 4 * count:
        ids = np.array([row.id for row in database.rows()], np.int64)
        return rng.permutation(ids)[:count].tolist()
    picked = np.unique(rng.integers(1, total + 1, 3 * count))
    return database.released_ids(rng.permutation(picked)[: 2 * count].tolist())[:count]
