"""The file that was handed in to the descriptor track of the Image Similarity Challenge 2021.

One HDF5 file with ``query`` and ``reference``, (N, D) float32, and ``query_ids`` and ``reference_ids``, byte
strings; rows are sorted by id.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from active_indexing.artefacts.atomic import atomic_file
from active_indexing.extraction.named_descriptors import NamedDescriptors, as_bytes, challenge_ids
from active_indexing.extras import third_party

MOST_DIMENSIONS = 256
"""Longest descriptor that the challenge accepted."""


def write_submission(path: Path, queries: NamedDescriptors, references: NamedDescriptors) -> None:
    """Write a submission, atomically.

    Args:
        path: final path.
        queries: names may be paths; folders and endings of image files go.
        references: as the queries, with descriptors of the same length.

    Raises:
        ValueError: two images of one name, or queries and references of different lengths.
    """
    widths = queries.vectors.shape[1], references.vectors.shape[1]
    if widths[0] != widths[1]:
        raise ValueError(
            f"queries have descriptors of {widths[0]} dimensions, references of {widths[1]}; extract both "
            "with one descriptor."
        )
    with atomic_file(path) as content, third_party("h5py", "training").File(content, "w") as file:
        for kind, part in (("query", queries), ("reference", references)):
            ids = challenge_ids(part.names)
            order = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int64)
            file.create_dataset(kind, data=part.vectors[order], dtype=np.float32)
            file[f"{kind}_ids"] = as_bytes([ids[row] for row in order])
