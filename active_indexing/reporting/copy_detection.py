"""Copy detection: precision and recall of all (query, answer) pairs of a run."""

from __future__ import annotations

import numpy as np
import pandas as pd

from active_indexing.metrics import ranking
from active_indexing.metrics.bootstrap import REPLICATES, Interval, draws, percentile_interval
from active_indexing.metrics.ranking import RankedPairs, rank_pairs, resampled_average_precision
from active_indexing.records import NO_MATCH
from active_indexing.reporting.runs import Run


def pairs(run: Run, normalised: bool = False) -> RankedPairs:
    """The pairs of a run, best first; ``positives`` is 1 for a query with a match, else 0.

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
    return rank_pairs(_joined(query, np.int64), _joined(scores, float), _joined(correct, bool), matching)


def average_precision(found: RankedPairs) -> float:
    """Micro average precision: ties count against us, matches that were not retrieved count as missed."""
    return ranking.average_precision(found)


def average_precision_interval(found: RankedPairs, replicates: int = REPLICATES) -> Interval:
    """95 % bootstrap interval of ``average_precision`` over queries."""
    drawn = draws(len(found.positives), replicates)
    return percentile_interval(np.array([resampled_average_precision(found, counts) for counts in drawn]))


def precision_recall(found: RankedPairs) -> tuple[np.ndarray, np.ndarray]:
    """Points of the curve, one per threshold at which recall grows.

    Returns:
        recall, precision: (n,) float64, in the order of falling scores.
    """
    hits = np.flatnonzero(found.correct)
    right = np.arange(1, len(hits) + 1)
    return right / max(1, int(found.positives.sum())), right / (hits + 1)


def published_average_precision(run: Run) -> float:
    """The uAP as the published notebook computes it, for comparison with its recorded figures.

    Normalised scores; a match that is not among the pairs is added with score -1, and thresholds, not pairs,
    are counted (scikit-learn).
    """
    from sklearn.metrics import average_precision_score

    found = pairs(run, normalised=True)
    missed = int(found.positives.sum()) - int(found.correct.sum())
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
            ends = average_precision_interval(found)
            matching = int(found.positives.sum())
            others = len(found.positives) - matching
            rows[run.name, name] = (average_precision(found), ends.low, ends.high, matching, others)
    columns = ["uAP", "low", "high", "matching", "non_matching"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    if rows:
        table.index = pd.MultiIndex.from_tuples(table.index, names=["run", "scores"])
    return table


def _joined(parts: list[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate(parts).astype(kind) if parts else np.zeros(0, dtype=kind)
