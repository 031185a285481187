"""A store as plain arrays and tables, so that another engine can hold the same index.

images.parquet            one row per released image, with its descriptor (float16) and its codes
ids.npy                   (N,) int64
descriptors.npy           (N, D) float16, of the released files
entry_ids.npy, codes.npy  (E,) int64 and (E, code size) uint8: one row per code, cell first
contract.json             what is frozen, and how the arrays make cells and codes
centroids.npy, ...        what was trained; see ``Codec.trained_arrays``
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from active_indexing.artefacts.atomic import atomic_file, write_array, write_json
from active_indexing.store.archive import Store
from active_indexing.store.rows import StoredImage

FORMAT = "active_indexing.export/1"


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        folder: of the export.
        images: released images.
        entries: codes.
        parquet: whether there is ``images.parquet``, for which pyarrow must be installed.
    """

    folder: Path
    images: int
    entries: int
    parquet: bool


def export(store: Store, folder: Path) -> Export:
    """Write a store into a folder; images that come or go meanwhile are not seen.

    Args:
        store: open.
        folder: of the export; files of an earlier one are replaced.

    Raises:
        IndexFileError: a trained part that is no array.
    """
    arrays = store.codec.trained_arrays()
    with store.database.snapshot():
        images = store.database.count_released()
        entries = images * store.contract.entries
        dim, code_size = store.codec.dim, store.codec.code_size
        vectors = store.database.vectors
        _write(folder / "ids.npy", "<i8", (images,), (ids for ids, _, _ in vectors()))
        _write(
            folder / "descriptors.npy", "<f2", (images, dim), (_first(some, dim) for _, _, some in vectors())
        )
        _write(
            folder / "entry_ids.npy", "<i8", (entries,), (ids for ids, _ in store.database.codes(code_size))
        )
        _write(
            folder / "codes.npy", "u1", (entries, code_size), (c for _, c in store.database.codes(code_size))
        )
        parquet = _write_parquet(folder / "images.parquet", store)
    for name, array in arrays.items():
        write_array(folder / f"{name}.npy", array)
    about = {
        "format": FORMAT,
        "contract": asdict(store.contract),
        "codec": store.codec.description(),
        "arrays": {name: list(array.shape) for name, array in arrays.items()},
        "images": images,
        "entries": entries,
        "how": HOW,
    }
    write_json(folder / "contract.json", about)
    return Export(folder, images, entries, parquet)


HOW = (
    "x -> transform_0_matrix x + transform_0_bias (and so on, if there are any); the cell is the "
    "nearest centroid "
    "(largest inner product for the metric IP); with by_residual the centroid is subtracted; the "
    "vector is cut into "
    "M parts, each coded by its nearest codebook row. A code is the cell (cell_bytes, lowest first), "
    "then the M "
    "numbers of the rows (nbits each, lowest bits first)."
)
"""How the arrays are used, for people who write the other engine."""


def _write(path: Path, kind: str, shape: tuple[int, ...], chunks: Iterator[np.ndarray]) -> None:
    """A .npy file, without holding it in memory."""
    with atomic_file(path) as file:
        np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
        for chunk in chunks:
            file.write(np.ascontiguousarray(chunk, dtype=kind).tobytes())


def _first(vectors: list[bytes], dim: int) -> np.ndarray:
    """The descriptor of the released file, of each (1 + K, D) float16."""
    return np.stack([np.frombuffer(each, "<f2", count=dim) for each in vectors])


def _write_parquet(path: Path, store: Store) -> bool:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return False
    names = [name for name in StoredImage.__dataclass_fields__ if name not in ("status", "removed_at")]
    kinds = {int: pyarrow.int64(), str: pyarrow.string(), float: pyarrow.float64()}
    declared = {"int": int, "str": str, "float": float}
    columns = [(name, kinds[declared[str(StoredImage.__dataclass_fields__[name].type)]]) for name in names]
    schema = pyarrow.schema(
        [
            *columns,
            ("codes", pyarrow.binary()),
            ("descriptor", pyarrow.list_(pyarrow.float16(), store.codec.dim)),
        ]
    )
    with atomic_file(path) as file, parquet.ParquetWriter(file, schema) as writer:
        for ids, codes, vectors in store.database.vectors():
            rows = store.database.images(ids.tolist())
            table = {name: [getattr(row, name) for row in rows] for name in names}
            table["codes"] = codes
            flat = pyarrow.array(_first(vectors, store.codec.dim).ravel())
            table["descriptor"] = pyarrow.FixedSizeListArray.from_arrays(flat, store.codec.dim)
            writer.write_table(pyarrow.table(table, schema=schema))
    return True
