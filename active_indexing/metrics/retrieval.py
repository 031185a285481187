"""Recall, average precision of a rank, micro average precision."""

from __future__ import annotations

import numpy as np


def recall_at(rank: int | None, k: int) -> int:
    """1 when the right answer is among the first k, else 0.

    Args:
        rank: its place from 0, or ``None`` when it was not retrieved.
        k: how many places count.
    """
    return int(rank is not None and rank < k)


def average_precision_of_rank(rank: int | None) -> float:
    """Average precision of a query with one right answer: 1 / (rank + 1), 0 when not found."""
    return 0.0 if rank is None else 1.0 / (rank + 1)


def micro_average_precision(scores: np.ndarray, correct: np.ndarray, positives: int) -> float:
    """Average precision of all (query, answer) pairs in one ranking.

    As in the Image Similarity Challenge 2021 (Douze et al.): precision at each right pair, summed,
    over the number of right pairs that exist, found or not. Among equal scores wrong pairs come first, so
    constant scores earn nothing.

    Args:
        scores: (N,) larger is better.
        correct: (N,) bool.
        positives: right pairs that exist; at least ``correct.sum()``.

    Returns:
        In [0, 1]; ``nan`` when ``positives`` is 0.

    Raises:
        ValueError: more right pairs than ``positives``.
    """
    scores, correct = np.asarray(scores, dtype=np.float64), np.asarray(correct, dtype=bool)
    if correct.sum() > positives:
        raise ValueError(f"{int(correct.sum())} pairs are correct, but only {positives} are said to exist.")
    if positives == 0:
        return float("nan")
    ranked = correct[np.lexsort((correct, -scores))]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float(precision[ranked].sum() / positives)
