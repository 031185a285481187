"""Parts of FAISS indexes: transforms, clusterings, ids, and what FAISS itself leaves wrong in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import faiss
import numpy as np

OPQ_CENTROIDS = 256
"""Centroids of the codebooks that an OPQ rotation is trained with, whatever the index's own (faiss)."""


def split_transforms(index: Any) -> tuple[list[Any], Any]:
    """The transforms before an index, and the index behind them."""
    if not isinstance(index, faiss.IndexPreTransform):
        return [], index
    transforms: Any = index.chain
    chain = [faiss.downcast_VectorTransform(transforms.at(i)) for i in range(transforms.size())]
    return chain, faiss.downcast_index(index.index)


def cells_of(index: Any) -> Any:
    """The inverted lists of an index, behind its transforms; ``None`` without cells."""
    ivf: Any = faiss.try_extract_index_ivf(index)
    return ivf and faiss.downcast_index(ivf)


def centroid_counts(index: Any) -> Iterator[int]:
    """Centroids of every clustering in an index."""
    chain, core = split_transforms(faiss.downcast_index(index))
    ivf: Any = cells_of(index)
    if ivf is not None:
        quantizer: Any = faiss.downcast_index(ivf.quantizer)
        pairs = isinstance(quantizer, faiss.MultiIndexQuantizer)  # a cell is a pair of centroids
        yield int(quantizer.pq.ksub if pairs else ivf.nlist)
    if any(isinstance(step, faiss.OPQMatrix) for step in chain):
        yield OPQ_CENTROIDS
    for within in ("base_index", "storage"):  # of a refined index, of a graph
        core = faiss.downcast_index(getattr(core, within, core))
    if hasattr(core, "pq"):
        yield int(core.pq.ksub)


def stored_ids(index: Any) -> np.ndarray:
    """Ids (N,) int64 of all entries, where the index keeps them itself."""
    ivf: Any = cells_of(index)
    lists: Any = ivf and ivf.invlists
    sizes = {cell: lists.list_size(cell) for cell in range(ivf.nlist if ivf else 0)}
    stored = (faiss.rev_swig_ptr(lists.get_ids(cell), size) for cell, size in sizes.items() if size)
    return np.concatenate([np.empty(0, np.int64), *stored])


def repair_after_reading(index: Any) -> None:
    """Set what faiss 1.15 leaves wrong in an index that was read from a file."""
    for step in split_transforms(faiss.downcast_index(index))[0]:
        if isinstance(step, faiss.LinearTransform):
            step.set_is_orthonormal()  # else whitening would be undone as if it were a rotation
    lists: Any = cells_of(index)
    fast = isinstance(lists, faiss.IndexIVFPQFastScan)
    if fast:
        lists.fine_quantizer = lists.pq  # else decoding crashes


def refuse_unfit(index: Any, metric: int) -> None:
    """Raise for what FAISS makes but can't do: it would compute something else, or abort the process.

    Raises:
        ValueError: with what it can't do.
    """
    if index.metric_type != metric:
        raise ValueError("it knows another metric only")
    if isinstance(split_transforms(index)[1], faiss.IndexIVFPQR):
        raise ValueError("its refinement codes work with ids 0, 1, 2... only")
