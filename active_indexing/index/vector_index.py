"""The vector index.

``VectorIndex`` answers four questions about a descriptor: which entries are near it, which cell it falls in,
where the centroid of that cell is, and what the index would remember of it. The last one is
``sa_decode(sa_encode(x))``: the vector that the index would give back if ``x`` were added, without adding it.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import faiss
import numpy as np

from active_indexing.index import faiss_parts
from active_indexing.index.native_output import in_words, reason, without_native_lines
from active_indexing.index.neighbours import Neighbours, best_ids, most_of_one
from active_indexing.index.structure import misfits
from active_indexing.index.training_sizes import TrainingSizes, training_sizes
from active_indexing.index.vectors import checked
from active_indexing.registry import Registry

_METRICS = {"L2": faiss.METRIC_L2, "IP": faiss.METRIC_INNER_PRODUCT}

_LEARNED = (faiss.PCAMatrix, faiss.OPQMatrix, faiss.ITQTransform)


class IndexFileError(ValueError):
    """An index file that can't be used; the text says why and what to do."""


class VectorIndex:
    """A FAISS index that keeps 64-bit ids, made from a factory string for the metric ``L2`` or ``IP``."""

    def __init__(self, index: faiss.Index, factory: str, metric: str) -> None:
        self._owner = index  # frees the C++ index when it goes; the downcast views do not
        self._index: Any = faiss.downcast_index(index)
        self.factory = factory
        self.metric = metric
        self._chain, core = faiss_parts.split_transforms(self._index)
        self._ivf = faiss.try_extract_index_ivf(self._index)
        # IVF stores 64-bit ids itself; an IDMap around it would give wrong ids after a removal.
        keeps_ids = isinstance(core, faiss.IndexIVF)
        self._entries = self._index if keeps_ids else faiss.IndexIDMap(self._index)
        self._most = 1  # entries of one id

    @property
    def dim(self) -> int:
        """Length of the descriptors."""
        return int(self._index.d)

    @property
    def ntotal(self) -> int:
        """Number of entries."""
        return int(self._index.ntotal)

    @property
    def ids(self) -> np.ndarray:
        """Ids (N,) int64 of all entries, in no order."""
        return faiss_parts.entry_ids(self._entries)

    @property
    def needs_training(self) -> bool:
        """Whether the index must see training descriptors before anything can be added."""
        return not self._index.is_trained

    @property
    def nlist(self) -> int | None:
        """Number of IVF cells; ``None`` for an index without cells."""
        return None if self._ivf is None else int(self._ivf.nlist)

    @property
    def training_sizes(self) -> TrainingSizes:
        """How many training descriptors it needs, wants and can use."""
        learned = [(step.d_in, step.d_out) for step in self._chain if isinstance(step, _LEARNED)]
        return training_sizes(list(faiss_parts.centroid_counts(self._index)), learned)

    def train(self, descriptors: np.ndarray) -> None:
        """Train the index; the same descriptors give the same index.

        Args:
            descriptors: (N, D) float32, finite.

        Raises:
            ValueError: too few descriptors for the factory, a wrong D, or values that are not finite.
        """
        descriptors = self._checked(descriptors, "training descriptors")
        sizes = self.training_sizes
        if len(descriptors) < sizes.least:
            raise ValueError(
                f"{self.factory} needs at least {sizes.least:,} training descriptors "
                f"(and wants {sizes.good:,}); got {len(descriptors):,}. "
                "Extract more with scripts/extract_fts.py, or choose a factory with fewer cells."
            )
        attempt = f"{self.factory} could not be trained from {len(descriptors):,} descriptors"
        # FAISS prints hundreds of these for OPQ; callers give one warning in words instead.
        with in_words(attempt), without_native_lines(b"WARNING clustering"):
            self._index.train(descriptors)

    def add(self, descriptors: np.ndarray, ids: np.ndarray) -> None:
        """Add entries.

        Args:
            descriptors: (N, D) float32, finite.
            ids: (N,) int64, new to the index: all entries of one id are added together.

        Raises:
            ValueError: a wrong D, values that are not finite, or lengths that differ.
        """
        descriptors = self._checked(descriptors, "descriptors to add")
        ids = np.ascontiguousarray(ids, dtype=np.int64)
        if len(ids) != len(descriptors):
            raise ValueError(f"got {len(descriptors)} descriptors but {len(ids)} ids.")
        with in_words(f"{self.factory} can't take {len(ids):,} descriptors"):
            self._entries.add_with_ids(descriptors, ids)
        self._most = max(self._most, most_of_one(ids))

    def copy(self) -> VectorIndex:
        """An index of the same entries that goes its own way; ValueError if FAISS can't copy its kind."""
        made = copy(self)
        with in_words(f"{self.factory} can't be copied"):
            made._owner, made._entries, made._index = faiss_parts.cloned(self._entries, self._index)
        made._chain, made._ivf = (
            faiss_parts.split_transforms(made._index)[0],
            faiss.try_extract_index_ivf(made._index),
        )
        return made

    def search(self, descriptors: np.ndarray, k: int) -> list[Neighbours]:
        """The k best ids of each query, (N, D) float32, each once; fewer when visited cells hold fewer."""
        descriptors = self._checked(descriptors, "query descriptors")
        return best_ids(self._best_entries, descriptors, k, self._most)

    def _best_entries(self, descriptors: np.ndarray, k: int) -> list[Neighbours]:
        # FAISS allocates k places for every query, however few entries there are.
        with in_words(f"{self.factory} can't be searched"):
            distances, ids = self._entries.search(descriptors, max(1, min(k, self.ntotal)))
        # A cell shorter than k is padded with id -1 and distance 3.4e38 (faiss 1.15.1).
        return [Neighbours(i[i >= 0], d[i >= 0]) for i, d in zip(ids, distances, strict=True)]

    def set_nprobe(self, nprobe: int) -> None:
        """Visit this many cells per query; it has no meaning, and no effect, without cells.

        Goes through OPQ and PCA to the inner IVF, which setting an attribute of the outer index would not.
        """
        if self._ivf is not None:
            nprobe = min(nprobe, int(self._ivf.nlist))
            faiss.ParameterSpace().set_index_parameter(self._index, "nprobe", nprobe)
            if self._ivf.nprobe != nprobe:
                raise RuntimeError(f"asked nprobe={nprobe}, the index reports {self._ivf.nprobe}.")

    def reconstruct(self, descriptors: np.ndarray) -> np.ndarray:
        """What the index would remember of each descriptor, (N, D) float32 to (N, D) float32.

        ``sa_decode(sa_encode(x))``: nothing is added.

        Raises:
            ValueError: the index can't decode its own codes.
        """
        descriptors = self._checked(descriptors, "descriptors")
        graph = isinstance(self._index, faiss.IndexHNSW)
        codec = faiss.downcast_index(self._index.storage) if graph else self._index
        try:
            return codec.sa_decode(codec.sa_encode(descriptors))
        except RuntimeError as error:
            raise ValueError(
                f"{self.factory} can't say where a vector lands (target pq_recons): {reason(error)} "
                "Use an index that decodes its codes (IVF, PQ, OPQ, PCA without whitening, Flat), "
                "or --target ori_ft."
            ) from error

    def cells(self, descriptors: np.ndarray) -> np.ndarray | None:
        """IVF cell of each descriptor, (N,) int64 in [0, nlist), or ``None`` for an index without cells."""
        transformed = self._checked(descriptors, "descriptors")
        if self._ivf is None:
            return None
        for step in self._chain:
            transformed = step.apply(transformed)
        return self._ivf.quantizer.search(transformed, 1)[1][:, 0]

    def centroids(self, cells: np.ndarray) -> np.ndarray:
        """Centroids (N, D) float32 of cells (N,) int64, in the space of the descriptors.

        Behind OPQ or PCA it is the centroid carried back through the transform.

        Raises:
            ValueError: no cells, or a transform that can't be inverted.
        """
        if self._ivf is None:
            raise ValueError(
                f"{self.factory} has no cells, so it has no centroids (targets ivf_cluster and "
                "ivf_cluster_half). Use an IVF index, or --target pq_recons or ori_ft."
            )
        centroids = self._ivf.quantizer.reconstruct_batch(np.asarray(cells, dtype=np.int64))
        try:
            for step in reversed(self._chain):
                centroids = step.reverse_transform(centroids)
        except RuntimeError as error:
            raise ValueError(
                f"{self.factory}: the centroid can't be carried back through its transform: "
                f"{reason(error)} Use a PCA without whitening."
            ) from error
        return centroids

    def cell_geometry(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Matrix (E, D), bias (E,) and centroids (nlist, E), float32.

        x lies in the cell of the centroid that is nearest to matrix x + bias.

        ``None`` without cells, behind a transform that is not linear, or when cells are pairs of centroids.
        """
        return None if self._ivf is None else faiss_parts.cell_geometry(self._ivf, self._chain)

    def neighbours(self, descriptors: np.ndarray, k: int, nprobe: int) -> tuple[np.ndarray, np.ndarray]:
        """The entries nearest to each descriptor, and what the index remembers of them.

        Args:
            descriptors: (N, D) float32, finite.
            k: how many of each.
            nprobe: cells visited, without effect on other searches.

        Returns:
            (N, k) int64 ids, -1 where fewer were found, and (N, k, D) float32; infinite there, and where the
            index can't decode its codes.
        """
        descriptors = self._checked(descriptors, "descriptors")
        found = np.full((len(descriptors), k, self.dim), np.inf, dtype=np.float32)
        visits: Any = None
        if self._ivf is not None:
            visits = faiss.SearchParametersIVF()
            visits.nprobe = nprobe
            if self._chain:
                inner, visits = visits, faiss.SearchParametersPreTransform()
                visits.index_params = inner
        try:
            _, ids, vectors = self._index.search_and_reconstruct(descriptors, k, params=visits)
        except RuntimeError:
            return np.full(found.shape[:2], -1), found
        there = ids >= 0  # none of an empty index, which has no number to look up
        found[there] = vectors[there]
        if self._entries is not self._index:
            ids[there] = self.ids[ids[there]]
        return ids, found

    def misfits(self) -> list[str]:
        """What keeps an index that was read from a file from being one of its factory, metric and ``dim``."""
        expected = new_index(self.factory, self.metric, self.dim)  # frees its parts when it goes
        return misfits(self._index, expected._index)

    def to_bytes(self) -> bytes:
        """The bytes of a FAISS index file, entries included; ValueError if it doesn't keep their ids."""
        if self.ntotal and self._entries is not self._index:
            raise ValueError(f"{self.factory} does not keep ids; it is saved before entries are added.")
        return faiss.serialize_index(self._index).tobytes()

    @classmethod
    def from_bytes(cls, content: bytes, factory: str, metric: str) -> VectorIndex:
        """Read back what ``to_bytes`` gave; IndexFileError when it is not a whole FAISS index."""
        try:
            index = faiss.deserialize_index(np.frombuffer(content, dtype=np.uint8))
        except (RuntimeError, MemoryError) as error:
            raise IndexFileError(f"not a whole FAISS index file ({reason(error)})") from error
        read = cls(index, factory, metric)
        faiss_parts.repair_after_reading(index)
        read._most = most_of_one(faiss_parts.stored_ids(index))
        return read

    def _checked(self, descriptors: np.ndarray, what: str) -> np.ndarray:
        return checked(descriptors, self.dim, self.factory, what)


INDEX_TYPES: Registry[Callable[[int, int], faiss.Index]] = Registry(
    "index type", {}, group="active_indexing.index_types"
)
"""Index types besides those of FAISS's factory: (dimensions, FAISS metric) to an untrained index."""


def new_index(factory: str, metric: str, dim: int) -> VectorIndex:
    """An empty, untrained index.

    Args:
        factory: FAISS factory string, e.g. ``IVF4096,PQ8x8``, or ``module:function`` of ``INDEX_TYPES``.
        metric: ``L2`` or ``IP``.
        dim: length of the descriptors.

    Raises:
        ValueError: FAISS can't make such an index for this metric and dimension.
    """
    if ":" in factory:
        return VectorIndex(INDEX_TYPES[factory](dim, _METRICS[metric]), factory, metric)
    try:
        return VectorIndex(faiss_parts.untrained(factory, _METRICS[metric], dim), factory, metric)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"FAISS can't make an index {factory!r} for {dim} dimensions with --quant {metric}: "
            f"{reason(error)}"
        ) from error
