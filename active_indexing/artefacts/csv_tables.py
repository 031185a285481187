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
