"""A copy of an index answers as the index does, and goes its own way."""

from __future__ import annotations

import numpy as np
import pytest

from active_indexing.index.vector_index import new_index

DIM = 16


@pytest.mark.parametrize(
    ("factory", "metric"),
    [
        ("Flat", "IP"),
        ("IVF4,PQ4x4", "L2"),
        ("OPQ4_8,IVF4,PQ4x4", "L2"),
        ("HNSW8", "L2"),
        ("PQ4x4", "L2"),
        ("LSH", "L2"),
    ],
)
def test_what_is_added_to_one_is_in_one(factory: str, metric: str) -> None:
    rng = np.random.default_rng(0)
    index = new_index(factory, metric, DIM)
    if index.needs_training:
        index.train(rng.normal(size=(700, DIM)).astype(np.float32))
    index.set_nprobe(3)
    first, second, third = (rng.normal(size=(n, DIM)).astype(np.float32) for n in (60, 20, 20))
    index.add(first, np.arange(60) // 2)  # two entries of each id
    made = index.copy()
    for each, more, start in ((index, second, 1000), (made, third, 2000)):
        each.add(more, start + np.arange(20))
    assert made.ntotal == index.ntotal == 80
    for each, more, other, start in ((index, second, third, 1000), (made, third, second, 2000)):
        ids = {int(i) for found in each.search(np.concatenate([more, other]), 30) for i in found.ids}
        assert ids & set(range(start, start + 20))
        assert not ids & set(range(3000 - start, 3020 - start))
        assert ids & set(range(30))
    del index
    index = made.copy()
    for ours, theirs in zip(made.search(first, 10), index.search(first, 10), strict=True):
        assert ours.ids.tolist() == theirs.ids.tolist()
        assert ours.distances.tobytes() == theirs.distances.tobytes()
        assert len(set(ours.ids.tolist())) == len(ours.ids)
    cells = made.cells(first)
    assert (cells is None) == (made.nlist is None)
    assert made.reconstruct(first).tobytes() == index.reconstruct(first).tobytes()


def test_a_kind_that_faiss_cannot_copy_is_an_error() -> None:
    index = new_index("ITQ8,LSH", "L2", DIM)
    index.train(np.random.default_rng(0).normal(size=(200, DIM)).astype(np.float32))
    with pytest.raises(ValueError, match="ITQ8,LSH can't be copied"):
        index.copy()
