"""CSV files of one physical line a row, and cells that hold lists."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from active_indexing.artefacts.atomic import atomic_file

ID_COLUMNS = ("retrieved_indices", "retrieved_ids")
"""Column of retrieved ids: ours, and in an icd_df.csv of the published program."""

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


def id_column(columns: Iterable[str], path: Path) -> str:
    """Which column of a table of answers holds the ids.

    Args:
        columns: of the table.
        path: of the table, for the error.

    Raises:
        ValueError: neither name is there.
    """
    there = set(columns)
    for name in ID_COLUMNS:
        if name in there:
            return name
    raise ValueError(f"{path} has neither a column {' nor '.join(ID_COLUMNS)}; is it an icd_df.csv?")


def parse_answers(distances: str, ids: str) -> tuple[np.ndarray, np.ndarray]:
    """The two lists of a row; an id of -1, published for a missing answer, ends both.

    Returns:
        (n,) float64 distances and (n,) int64 ids.
    """
    found = parse_id_cell(ids)
    missing = np.flatnonzero(found == -1)
    kept = int(missing[0]) if len(missing) else len(found)
    return parse_list_cell(distances)[:kept], found[:kept]


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
