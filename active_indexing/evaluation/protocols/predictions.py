"""Prediction and ground-truth files of the Image Similarity Challenge 2021, in both dialects.

Predictions are rows ``query,reference,score``; a ground truth has rows ``query,reference``, and a query
without a match has an empty reference. A header is optional; the challenge writes ``reference_id`` where
ViT4ICD writes ``ref_id``, and both are read.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from active_indexing.artefacts.csv_tables import write_csv
from active_indexing.metrics.ranking import RankedPairs, rank_pairs

REFERENCE_COLUMNS = ("reference_id", "ref_id")
"""Names of the second column: of the challenge, and of ViT4ICD."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Scored pairs.

    Attributes:
        queries: N names.
        references: N names.
        scores: (N,) float64, larger is better.
    """

    queries: tuple[str, ...]
    references: tuple[str, ...]
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.queries)


@dataclass(frozen=True)
class GroundTruth:
    """Which pairs are right.

    Attributes:
        pairs: (query, reference).
        queries: all queries of the file, those without a match too.
    """

    pairs: frozenset[tuple[str, str]]
    queries: frozenset[str]


def read_predictions(path: Path) -> Predictions:
    """Read a prediction file with either header, or with none.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a row that is not a query, a reference and a number.
    """
    queries, references, scores = [], [], []
    for line, row in _rows(path, ("score",)):
        try:
            query, reference, score = row[0], row[1], float(row[2])
        except (IndexError, ValueError):
            score = math.nan
        if len(row) != 3 or math.isnan(score) or not (query and reference):
            raise ValueError(f"{path}, line {line}: expected a query, a reference and a score, got {row}.")
        queries.append(query)
        references.append(reference)
        scores.append(score)
    return Predictions(tuple(queries), tuple(references), np.array(scores, dtype=np.float64))


def write_predictions(
    path: Path, predictions: Predictions, reference_column: str = REFERENCE_COLUMNS[0]
) -> None:
    """Write a prediction file, atomically.

    Scores keep every digit; the challenge's own program rounds them to 6, which makes ties.

    Args:
        path: final path.
        predictions: pairs.
        reference_column: name of the second column.
    """
    rows = zip(predictions.queries, predictions.references, predictions.scores.tolist(), strict=True)
    write_csv(path, ("query_id", reference_column, "score"), rows)


def read_ground_truth(path: Path) -> GroundTruth:
    """Read a ground truth with either header, or with none.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a row that is not a query and, perhaps, a reference; or no match at all.
    """
    pairs, queries = set(), set()
    for line, row in _rows(path, ()):
        if len(row) > 2 or not row[0]:
            raise ValueError(f"{path}, line {line}: expected a query and its reference, got {row}.")
        queries.add(row[0])
        if len(row) == 2 and row[1]:
            pairs.add((row[0], row[1]))
    if not pairs:
        raise ValueError(f"{path} holds no match; is it the ground truth?")
    return GroundTruth(frozenset(pairs), frozenset(queries))


def rank_predictions(
    predictions: Predictions, truth: GroundTruth, queries: Iterable[str] = ()
) -> RankedPairs:
    """Rank predicted pairs for the metrics.

    Right pairs that were not predicted count as missed; pairs of queries that have no match, or are not in
    the ground truth, count as wrong.

    Args:
        predictions: pairs, each at most once.
        truth: right pairs.
        queries: names of all queries, so that those without a pair are drawn by the bootstrap, too.

    Raises:
        ValueError: a pair that is predicted twice.
    """
    names = sorted(truth.queries.union(predictions.queries, queries))
    numbers = {name: number for number, name in enumerate(names)}
    pairs = list(zip(predictions.queries, predictions.references, strict=True))
    if len(set(pairs)) != len(pairs):
        seen: set[tuple[str, str]] = set()
        twice = next(pair for pair in pairs if pair in seen or seen.add(pair))  # type: ignore[func-returns-value]
        raise ValueError(f"the pair {twice[0]}, {twice[1]} is predicted twice; keep its best score only.")
    positives = np.zeros(len(names), dtype=np.int64)
    for query, _ in truth.pairs:
        positives[numbers[query]] += 1
    return rank_pairs(
        np.array([numbers[query] for query in predictions.queries], dtype=np.int64),
        predictions.scores,
        np.array([pair in truth.pairs for pair in pairs], dtype=bool),
        positives,
    )


def _rows(path: Path, more_columns: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every row that is neither the header nor empty."""
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; expected a CSV of queries and references.")
    headers = [["query_id", column, *more_columns] for column in REFERENCE_COLUMNS]
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells) and not (reader.line_num == 1 and cells in headers):
                yield reader.line_num, cells
