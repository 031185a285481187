"""Codes of an index outside of the index: made of descriptors, kept elsewhere, and put together again.

A store keeps the codes; the index that is searched is a copy of them. Two copies of the same codes in the
same order are the same bytes, so a copy may be lost at any time.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from active_indexing.index.native_output import reason
from active_indexing.index.neighbours import Neighbours
from active_indexing.index.vector_index import IndexFileError
from active_indexing.index.vectors import checked


class Codec:
    """The trained part of an IVF index: from descriptors to cells and codes.

    Args:
        content: bytes of a FAISS index file; entries in it are left out.

    Attributes:
        dim: D, length of a descriptor.
        code_size: bytes of one code, its cell included.
        nlist: number of cells.
        content: bytes of the same index without entries; equal for equal training.

    Raises:
        IndexFileError: not a whole index file, or an index that can't be put together from codes.
    """

    def __init__(self, content: bytes) -> None:
        self._owner = _parsed(content)  # frees the C++ index when it goes; the downcast views do not
        index: Any = faiss.downcast_index(self._owner)
        index.reset()
        self._index = index
        self._ivf = _inverted_file(index)
        self.dim, self.nlist = int(index.d), int(self._ivf.nlist)
        self.code_size = int(self._ivf.sa_code_size())
        self._cell_size = int(self._ivf.coarse_code_size())
        self.content: bytes = faiss.serialize_index(index).tobytes()
        self._refuse_what_codes_cannot_fill()

    def encode(self, descriptors: np.ndarray) -> np.ndarray:
        """Codes of descriptors, (N, D) float32 to (N, code_size) uint8."""
        descriptors = checked(descriptors, self.dim, "the store's index", "descriptors")
        return self._index.sa_encode(descriptors)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """What codes remember of their descriptors, (N, code_size) uint8 to (N, D) float32."""
        return self._index.sa_decode(np.ascontiguousarray(codes))

    def cells(self, codes: np.ndarray) -> np.ndarray:
        """Cells of codes, (N, code_size) uint8 to (N,) int64: the first bytes, lowest first."""
        weights = 256 ** np.arange(self._cell_size, dtype=np.int64)
        return codes[:, : self._cell_size].astype(np.int64) @ weights

    def new_index(self) -> CodeIndex:
        """An index without entries."""
        return CodeIndex(_parsed(self.content))

    def trained_arrays(self) -> dict[str, np.ndarray]:
        """What was trained, as arrays with which any engine can make the same cells and codes.

        ``transform_<n>_matrix`` (E, D) and ``transform_<n>_bias`` (E,) of each linear transform before the
        cells, x -> matrix x + bias; ``centroids`` (nlist, E); ``codebooks`` (M, ksub, E / M) when the
        residual of the centroid (or the vector) is product-quantized.

        Raises:
            IndexFileError: cells or transforms that are not arrays.
        """
        arrays: dict[str, np.ndarray] = {}
        if isinstance(self._index, faiss.IndexPreTransform):
            chain: Any = self._index.chain
            for place in range(chain.size()):
                step = faiss.downcast_VectorTransform(chain.at(place))
                if not isinstance(step, faiss.LinearTransform):
                    raise IndexFileError("a transform of the store's index is no matrix, so it has no export")
                matrix = faiss.vector_to_array(step.A).reshape(step.d_out, step.d_in)
                arrays[f"transform_{place}_matrix"] = matrix
                bias = faiss.vector_to_array(step.b)
                arrays[f"transform_{place}_bias"] = bias if len(bias) else np.zeros(step.d_out, np.float32)
        quantizer = faiss.downcast_index(self._ivf.quantizer)
        arrays["centroids"] = quantizer.reconstruct_n(0, self.nlist)
        pq = getattr(self._ivf, "pq", None)
        if pq is not None:
            arrays["codebooks"] = faiss.vector_to_array(pq.centroids).reshape(pq.M, pq.ksub, pq.dsub)
        return arrays

    def description(self) -> dict[str, Any]:
        """How the arrays are used, JSON-serialisable."""
        pq = getattr(self._ivf, "pq", None)
        return {
            "nlist": self.nlist,
            "dim": self.dim,
            "code_size": self.code_size,
            "cell_bytes": self._cell_size,
            "by_residual": bool(getattr(self._ivf, "by_residual", False)),
            "metric": "L2" if self._ivf.metric_type == faiss.METRIC_L2 else "IP",
            "codec": type(self._ivf).__name__,
            "pq": None if pq is None else {"M": int(pq.M), "nbits": int(pq.nbits), "dsub": int(pq.dsub)},
        }

    def _refuse_what_codes_cannot_fill(self) -> None:
        """Some indexes take codes without an error and then answer wrongly (fast scan, faiss 1.15.1)."""
        probe = np.eye(3, self.dim, dtype=np.float32)
        filled = _parsed(self.content)
        filled.add_with_ids(probe, np.arange(3))
        again = self.new_index()
        try:
            again.add(np.arange(3), self.encode(probe))
            same = again.to_bytes() == faiss.serialize_index(filled).tobytes()
        except RuntimeError:
            same = False
        if not same:
            raise IndexFileError(
                f"a store can't keep the codes of this index ({type(self._ivf).__name__}); use IVF "
                f"with PQ, SQ, "
                "RaBitQ or Flat, without FastScan and refinement."
            )


class CodeIndex:
    """An index that holds codes under 64-bit ids; from :meth:`Codec.new_index` or a file."""

    def __init__(self, index: Any, mapped: bool = False) -> None:
        self._owner = index
        self._index: Any = faiss.downcast_index(index)
        self._ivf = _inverted_file(self._index)
        self._mapped = mapped

    @property
    def ntotal(self) -> int:
        """Number of entries."""
        return int(self._index.ntotal)

    def add(self, ids: np.ndarray, codes: np.ndarray) -> None:
        """Add entries.

        Args:
            ids: (N,) int64.
            codes: (N, code_size) uint8, of the same codec.

        Raises:
            ValueError: the index is mapped from its file, which nobody changes.
        """
        if self._mapped:
            raise ValueError("an index that is mapped from its file can't be added to.")
        if len(ids):
            codes = np.ascontiguousarray(codes)
            self._ivf.add_sa_codes(codes, np.ascontiguousarray(ids, dtype=np.int64))
            self._index.ntotal = self._ivf.ntotal

    def fill(self, chunks: Iterable[tuple[np.ndarray, np.ndarray]]) -> CodeIndex:
        """Add (ids, codes) chunk by chunk; gives itself back."""
        for ids, codes in chunks:
            self.add(ids, codes)
        return self

    def search(self, descriptors: np.ndarray, k: int, nprobe: int) -> list[Neighbours]:
        """The k best entries of each query, (N, D) float32; fewer where the visited cells hold fewer.

        An id comes as often as it has entries among them.
        """
        descriptors = checked(descriptors, int(self._index.d), "the store's index", "query descriptors")
        visits: Any = faiss.SearchParametersIVF()
        visits.nprobe = nprobe
        if self._index is not self._ivf and isinstance(self._index, faiss.IndexPreTransform):
            inner, visits = visits, faiss.SearchParametersPreTransform()
            visits.index_params = inner
        distances, ids = self._index.search(descriptors, k, params=visits)
        return [Neighbours(i[i >= 0], d[i >= 0]) for i, d in zip(ids, distances, strict=True)]

    def to_bytes(self) -> bytes:
        """The bytes of a FAISS index file, the same for the same codes in the same order."""
        return faiss.serialize_index(self._index).tobytes()


def decoded_entries(content: bytes, count: int, seed: int = 0) -> np.ndarray:
    """What an index file remembers of some of its entries, (n, D) float32, n <= ``count``.

    Args:
        content: bytes of the file.
        count: entries wanted, picked at random.
        seed: picks them.
    """
    owner = _parsed(content)
    index: Any = faiss.downcast_index(owner)
    ivf = _inverted_file(index)
    lists = ivf.invlists
    sizes = [(cell, lists.list_size(cell)) for cell in range(ivf.nlist)]
    ids = [faiss.rev_swig_ptr(lists.get_ids(cell), size).copy() for cell, size in sizes if size]
    chosen = np.random.default_rng(seed).permutation(np.concatenate([np.empty(0, np.int64), *ids]))[:count]
    if not len(chosen):
        return np.empty((0, int(index.d)), np.float32)
    ivf.set_direct_map_type(faiss.DirectMap.Hashtable)  # type: ignore[attr-defined]
    return np.stack([index.reconstruct(int(image_id)) for image_id in chosen])


def code_index_of(content: bytes) -> CodeIndex:
    """The index in the bytes of an index file.

    Raises:
        IndexFileError: not a whole FAISS index file.
    """
    return CodeIndex(_parsed(content))


def read_code_index(path: Path) -> CodeIndex:
    """Map an index file into memory: cells are read from the disk when they are visited.

    Raises:
        IndexFileError: not a whole FAISS index file.
    """
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
    except RuntimeError as error:
        raise IndexFileError(f"{path} is not a whole FAISS index file ({reason(error)})") from error
    return CodeIndex(index, mapped=True)


def _parsed(content: bytes) -> Any:
    try:
        return faiss.deserialize_index(np.frombuffer(content, dtype=np.uint8))
    except RuntimeError as error:
        raise IndexFileError(f"not a whole FAISS index file ({reason(error)})") from error


def _inverted_file(index: Any) -> Any:
    ivf = faiss.try_extract_index_ivf(index)
    if ivf is None or isinstance(faiss.downcast_index(index), faiss.IndexRefine):
        raise IndexFileError(
            "a store needs an index with cells whose codes can be added again: IVF with PQ, SQ, "
            "RaBitQ or Flat."
        )
    return faiss.downcast_index(ivf)
