"""Parts of FAISS indexes: transforms, clusterings, ids, and what FAISS itself leaves wrong in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import faiss
import numpy as np

from active_indexing.index.factory_strings import check_factory, is_plain
from active_indexing.index.trial import check_survives
from active_indexing.parallel.memory import available_bytes

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


def untrained(factory: str, metric: int, dim: int) -> faiss.Index:
    """An index from a factory string, checked before FAISS sees it.

    Raises:
        ValueError: it can't be made, or is of no use here.
    """
    if "IDMap" in factory:
        raise ValueError("ids are kept for every index; leave the IDMap out")
    available = available_bytes()
    check_factory(factory, dim, available)
    if not is_plain(factory):
        check_survives(factory, metric, dim, available)
    index = faiss.index_factory(dim, factory, metric)
    refuse_unfit(faiss.downcast_index(index), metric)
    return index


def refuse_unfit(index: Any, metric: int) -> None:
    """Raise for what FAISS makes but can't do: it would compute something else, or abort the process.

    Raises:
        ValueError: with what it can't do.
    """
    if index.metric_type != metric:
        raise ValueError("it knows another metric only")
    core = split_transforms(index)[1]
    if isinstance(core, faiss.IndexIVFPQR):
        raise ValueError("its refinement codes work with ids 0, 1, 2... only")
    if isinstance(core, faiss.IndexNSG):
        raise ValueError("its graph is made in one go, and can't take images one after another; HNSW32 can")
    if isinstance(core, faiss.Index2Layer):
        raise ValueError("FAISS encodes with it, but can't search it")


def entry_ids(entries: Any) -> np.ndarray:
    """Ids (N,) int64 of an index that keeps them itself, or in an ``IndexIDMap`` around it."""
    kept = not isinstance(entries, faiss.IndexIDMap)
    return stored_ids(entries) if kept else faiss.vector_to_array(entries.id_map)


def cloned(entries: faiss.Index, index: faiss.Index) -> tuple[faiss.Index, Any, Any]:
    """A copy of an index with its ids: what frees it, ``entries`` and ``index`` of the copy, downcast.

    Args:
        entries: keeps the ids; the index itself, or an ``IndexIDMap`` around it.
        index: the index itself.

    Raises:
        RuntimeError: FAISS can't copy an index of this kind.
    """
    owner = faiss.clone_index(entries)
    made: Any = faiss.downcast_index(owner)
    return owner, made, made if entries is index else faiss.downcast_index(made.index)


def cell_geometry(ivf: Any, chain: list[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """See ``VectorIndex.cell_geometry``.

    Args:
        ivf: the index with cells.
        chain: transforms before it.
    """
    quantizer: Any = faiss.downcast_index(ivf.quantizer)
    linear = all(isinstance(step, faiss.LinearTransform) for step in chain)
    if not linear or not isinstance(quantizer, faiss.IndexFlat | faiss.IndexHNSWFlat):
        return None
    dim = int(chain[0].d_in if chain else ivf.d)
    moved = np.concatenate([np.zeros((1, dim)), np.eye(dim)]).astype(np.float32)
    for step in chain:
        moved = step.apply(moved)
    return (moved[1:] - moved[0]).T.copy(), moved[0], quantizer.reconstruct_n(0, int(quantizer.ntotal))
