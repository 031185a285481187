"""The CSV files: their columns, and how a value becomes text.

A row is one physical line. A list is ``[`` values separated by single spaces ``]``: drop the first and
the last character and split on white space. Floats have the fewest digits that read back to the same number.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from active_indexing.artefacts import atomic_file
from active_indexing.metrics import average_precision_of_rank, recall_at
from active_indexing.records import ManifestRow, QueryRow

RETRIEVAL_COLUMNS = (
    "batch", "image_index", "attack", "attack_param", "retrieved_distances", "retrieved_indices",
    "rank", "r@1", "r@10", "r@100", "ap",
)  # fmt: skip
COPY_DETECTION_COLUMNS = (
    "batch", "image_index", "attack", "attack_param", "retrieved_distances", "retrieved_indices",
)  # fmt: skip
FAILURE_COLUMNS = ("stage", "image_index", "path", "attack", "attack_param", "reason")

# ASCII control characters, and whatever else str.splitlines() takes for the end of a line.
_CONTROL = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]")


def list_cell(values: np.ndarray) -> str:
    """One cell for a 1-D array: never elided, never wrapped, every digit kept."""
    exact = values.tolist() if values.dtype.kind in "iu" else values  # str of a float32 is its shortest text
    return "[" + " ".join(map(str, exact)) + "]"


def parse_list_cell(cell: str) -> np.ndarray:
    """The float64 values of a list cell (ids are exact to 2**53; read them with ``parse_id_cell``)."""
    return np.array(cell[1:-1].split(), dtype=np.float64)


def parse_id_cell(cell: str) -> np.ndarray:
    """The int64 ids of a list cell."""
    return np.array(cell[1:-1].split(), dtype=np.int64)


def copy_detection_row(batch: int, row: QueryRow) -> tuple[Any, ...]:
    """Values of ``COPY_DETECTION_COLUMNS``."""
    return (
        batch, row.image_index, row.attack, row.attack_param, list_cell(row.distances), list_cell(row.ids),
    )  # fmt: skip


def retrieval_row(batch: int, row: QueryRow) -> tuple[Any, ...]:
    """Values of ``RETRIEVAL_COLUMNS``; a miss has an empty rank and zeros after it, whatever k was."""
    rank = row.rank
    recalls = [recall_at(rank, k) for k in (1, 10, 100)]
    return (*copy_detection_row(batch, row), rank, *recalls, average_precision_of_rank(rank))


def manifest_row(row: ManifestRow) -> tuple[Any, ...]:
    """Values of ``ManifestRow.columns()``."""
    return tuple(getattr(row, column) for column in ManifestRow.columns())


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Write a CSV atomically, row by row.

    Args:
        path: final path.
        columns: header.
        rows: values; ``None`` becomes an empty cell. Control characters and line breaks inside text, and
            bytes of a file name that are no UTF-8, become their escapes.

    Returns:
        Number of rows.
    """
    count = 0
    with atomic_file(path) as binary:
        text = io.TextIOWrapper(binary, encoding="utf-8", errors="backslashreplace", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_cell(value) for value in row])
            count += 1
        text.flush()
        text.detach()
    return count


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), value)
    return value
