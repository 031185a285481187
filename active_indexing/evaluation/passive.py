"""What the images of an active run would have got as they were, under the same attacks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from active_indexing.artefacts import csv_tables
from active_indexing.evaluation import tables
from active_indexing.evaluation.harness import PASSIVE, EvaluationHarness, ProtectedImages
from active_indexing.evaluation.stage import EvaluationStage, QueryImage
from active_indexing.evaluation.summary import RetrievalSummary
from active_indexing.index.vector_index import VectorIndex
from active_indexing.records import Failure

PASSIVE_CSV = "retr_passive_df.csv"


@dataclass(frozen=True)
class UnchangedImages:
    """The inputs of a run as they would have been released without activation.

    Attributes:
        protected: one query per input, whose file need not be there yet.
        inputs: id to the input, which failures name in place of the query's file.
        prepare: writes the files of these queries and gives the index that holds references and inputs.
    """

    protected: ProtectedImages
    inputs: dict[int, Path]
    prepare: Callable[[list[QueryImage]], VectorIndex]


def evaluate_passive(
    harness: EvaluationHarness,
    unchanged: UnchangedImages,
    asked: list[QueryImage],
    csv: Path,
    *,
    workers: int,
    threads: int,
) -> tuple[list[dict[str, Any]], list[Failure]]:
    """Attack the unchanged images, search them, and write the rows.

    Args:
        harness: of the run.
        unchanged: the images.
        asked: released images that the run evaluates; of these the inputs are taken, where they are left.
        csv: file of the rows, as ``retr_df.csv``.
        workers: attack processes.
        threads: images described at the same time.

    Returns:
        A row per attack for ``run.json``, and the attacks that failed.
    """
    ids = {query.id for query in asked}
    queries = [query for query in unchanged.protected.queries if query.id in ids]
    protected = replace(unchanged.protected, queries=queries)
    settings = harness.settings(PASSIVE, protected)
    stage = EvaluationStage(PASSIVE, protected.journals, settings, queries, harness.attacks(PASSIVE))
    with closing(stage):
        if todo := stage.todo:
            harness.answer([stage], unchanged.prepare(todo), workers, threads)
        summary = RetrievalSummary()
        rows = (tables.retrieval_row(block, row) for block, row in summary.watch(harness.blocks(stage)))
        csv_tables.write_csv(csv, tables.RETRIEVAL_COLUMNS, rows)
        failures = [replace(f, path=unchanged.inputs[f.image_index]) for f in stage.failures()]
    return summary.table(), failures
