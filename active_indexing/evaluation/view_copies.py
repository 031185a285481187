"""Retrieval of copies that are looked at in parts, as ``query`` does, beside the published figures."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from active_indexing.artefacts import csv_tables
from active_indexing.evaluation import tables
from active_indexing.evaluation.copies import ViewSearch
from active_indexing.evaluation.harness import VIEWS, EvaluationHarness, ProtectedImages
from active_indexing.evaluation.stage import EvaluationStage, QueryImage
from active_indexing.evaluation.summary import RetrievalSummary
from active_indexing.index.vector_index import VectorIndex
from active_indexing.records import Failure

VIEWS_CSV = "retr_views_df.csv"


def evaluate_views(
    harness: EvaluationHarness,
    protected: ProtectedImages,
    asked: list[QueryImage],
    index: VectorIndex,
    made: Callable[[], ViewSearch],
    csv: Path,
    *,
    settings: dict[str, Any],
    workers: int,
    threads: int,
) -> tuple[list[dict[str, Any]], list[Failure], list[QueryImage]]:
    """Attack images, search the copies in parts, and write the rows.

    Args:
        harness: of the run.
        protected: the released images.
        asked: those that are attacked.
        index: holds references and released images.
        made: the search; called when a copy is not on record yet.
        csv: file of the rows, as ``retr_df.csv``.
        settings: everything that the answers depend on but what the harness knows.
        workers: attack processes.
        threads: images described at the same time.

    Returns:
        A row per attack for ``run.json``, the attacks that failed, and images that were passed over because
        their released files were removed before they were asked about.
    """
    known = {**harness.settings(VIEWS, protected), **settings}

    def stage_of(queries: list[QueryImage]) -> EvaluationStage:
        return EvaluationStage(VIEWS, protected.journals, known, queries, harness.attacks(VIEWS))

    with closing(stage_of(asked)) as stage:
        gone = {query.key for query in stage.todo if not query.path.is_file()}
    kept = [query for query in asked if query.key not in gone]
    with closing(stage_of(kept)) as stage:
        if stage.todo:
            harness.answer([stage], index, workers, threads, made())
        summary = RetrievalSummary()
        rows = (tables.retrieval_row(block, row) for block, row in summary.watch(harness.blocks(stage)))
        csv_tables.write_csv(csv, tables.RETRIEVAL_COLUMNS, rows)
        return summary.table(), list(stage.failures()), [query for query in asked if query.key in gone]
