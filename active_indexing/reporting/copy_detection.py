"""Copy detection: precision and recall of all (query, answer) pairs of a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from active_indexing.metrics.intervals import interval, resample_counts
from active_indexing.metrics.retrieval import micro_average_precision
from active_indexing.reporting.runs import Run

NO_MATCH = -1
RESAMPLES = 500


@dataclass(frozen=True, eq=False)
class Pairs:
    """Every answer of every query.

    Attributes:
        scores: (N,) float64, larger is better.
        correct: (N,) bool.
        query: (N,) int64, which query the pair belongs to.
        matching: (queries,) bool, whether a query has a match at all.
    """

    scores: np.ndarray
    correct: np.ndarray
    query: np.ndarray
    matching: np.ndarray


def pairs(run: Run, normalised: bool = False) -> Pairs:
    """The pairs of a run.

    Args:
        run: with copy detection results.
        normalised: score an answer by how much nearer it is than the next one, -d[j] + d[j+1] (published
            notebook); the last answer of a query has no next one and is left out. Otherwise -d[j].

    Raises:
        ValueError: the run made no copy detection.
    """
    rows = run.copy_detection
    if rows is None:
        raise ValueError(f"{run.folder} has no copy detection results: run main.py with --eval_icd True.")
    sign = 1.0 if run.larger_is_better else -1.0
    scores, correct, query = [], [], []
    answers = zip(rows["image_index"], rows["retrieved_distances"], rows["retrieved_indices"], strict=True)
    for place, (image, distances, ids) in enumerate(answers):
        raw = sign * distances
        scores.append(raw[:-1] - raw[1:] if normalised else raw)
        correct.append((ids == image)[: len(scores[-1])])
        query.append(np.full(len(scores[-1]), place))
    matching = (rows["image_index"] != NO_MATCH).to_numpy()
    return Pairs(_joined(scores, float), _joined(correct, bool), _joined(query, np.int64), matching)


def average_precision(found: Pairs) -> float:
    """Micro average precision: ties count against us, matches that were not retrieved count as missed."""
    return micro_average_precision(found.scores, found.correct, int(found.matching.sum()))


def average_precision_interval(found: Pairs, resamples: int = RESAMPLES) -> tuple[float, float]:
    """95 % bootstrap interval of ``average_precision`` over queries."""
    order = np.lexsort((found.correct, -found.scores))
    correct, query = found.correct[order], found.query[order]
    draws = np.full(resamples, np.nan)
    for draw, counts in enumerate(resample_counts(len(found.matching), resamples)):
        positives = int(counts[found.matching].sum())
        if positives:
            drawn = np.repeat(correct, counts[query])
            places = np.flatnonzero(drawn)
            draws[draw] = (np.arange(1, len(places) + 1) / (places + 1)).sum() / positives
    low, high = interval(draws[:, None])
    return float(low[0]), float(high[0])


def precision_recall(found: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Points of the curve, one per threshold at which recall grows.

    Returns:
        recall, precision: (n,) float64, in the order of falling scores.
    """
    order = np.lexsort((found.correct, -found.scores))
    ranked = found.correct[order]
    hits = np.flatnonzero(ranked)
    recall = np.arange(1, len(hits) + 1) / max(1, int(found.matching.sum()))
    return recall, np.arange(1, len(hits) + 1) / (hits + 1)


def published_average_precision(run: Run) -> float:
    """The uAP as the published notebook computes it, for comparison with its recorded figures.

    Normalised scores; a match that is not among the pairs is added with score -1, and thresholds, not pairs,
    are counted (scikit-learn).
    """
    from sklearn.metrics import average_precision_score

    found = pairs(run, normalised=True)
    missed = int(found.matching.sum()) - int(found.correct.sum())
    scores = np.concatenate([found.scores, np.full(missed, -1.0)])
    return float(average_precision_score(np.concatenate([found.correct, np.ones(missed, bool)]), scores))


def average_precision_table(runs: list[Run]) -> pd.DataFrame:
    """The uAP of every run with raw and with normalised scores, with intervals and numbers of queries."""
    rows = {}
    for run in runs:
        if run.copy_detection is None:
            continue
        for name, normalised in (("raw", False), ("next-neighbour-normalised", True)):
            found = pairs(run, normalised)
            low, high = average_precision_interval(found)
            matching = int(found.matching.sum())
            others = len(found.matching) - matching
            rows[run.name, name] = (average_precision(found), low, high, matching, others)
    columns = ["uAP", "low", "high", "matching", "non_matching"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    if rows:
        table.index = pd.MultiIndex.from_tuples(table.index, names=["run", "scores"])
    return table


def _joined(parts: list[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate(parts).astype(kind) if parts else np.zeros(0, dtype=kind)
