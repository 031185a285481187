"""The CSV files: their columns, and how a value becomes text.

A row is one physical line. A list is ``[`` values separated by single spaces ``]``: drop the first and
the last character and split on white space. Floats have the fewest digits that read back to the same number.
"""

from __future__ import annotations

from typing import Any

from active_indexing.artefacts.csv_tables import list_cell
from active_indexing.metrics.retrieval import average_precision_of_rank, recall_at
from active_indexing.records import QueryRow

RETRIEVAL_COLUMNS = (
    "batch", "image_index", "attack", "attack_param", "retrieved_distances", "retrieved_indices",
    "rank", "r@1", "r@10", "r@100", "ap",
)  # fmt: skip
COPY_DETECTION_COLUMNS = (
    "batch", "image_index", "attack", "attack_param", "retrieved_distances", "retrieved_indices",
)  # fmt: skip
FAILURE_COLUMNS = ("stage", "image_index", "path", "attack", "attack_param", "reason")


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
