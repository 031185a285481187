"""Definitions of the numbers that runs report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class RankedPairs:
    """(query, reference) pairs with scores, best first; make it with :func:`rank_pairs`.

    Attributes:
        queries: (N,) int64 in [0, Q), the query of each pair.
        scores: (N,) float64, descending.
        correct: (N,) bool.
        places: (N,) int64 place of a pair among those of its query, from 0; wrong pairs first among equals.
        ranks: (N,) int64 number of other pairs of its query with the same score or a better one.
        positives: (Q,) int64 right pairs that exist for each query, found or not.
    """

    queries: np.ndarray
    scores: np.ndarray
    correct: np.ndarray
    places: np.ndarray
    ranks: np.ndarray
    positives: np.ndarray


def rank_pairs(
    queries: np.ndarray, scores: np.ndarray, correct: np.ndarray, positives: np.ndarray
) -> RankedPairs:
    """Sort pairs as the Image Similarity Challenge 2021 does: among equal scores the wrong ones come first.

    Args:
        queries: (N,) integers in [0, Q).
        scores: (N,) larger is better.
        correct: (N,) bool.
        positives: (Q,) right pairs that exist for each query; a query without one only has wrong pairs.

    Raises:
        ValueError: a score that is not a number, a query out of range, or more right pairs than exist.
    """
    queries, positives = np.asarray(queries, dtype=np.int64), np.asarray(positives, dtype=np.int64)
    scores, correct = np.asarray(scores, dtype=np.float64), np.asarray(correct, dtype=bool)
    if np.isnan(scores).any():
        raise ValueError(f"pair {int(np.isnan(scores).argmax())} has a score that is not a number.")
    if len(queries) and not 0 <= queries.min() <= queries.max() < len(positives):
        raise ValueError(f"queries are numbered {queries.min()} to {queries.max()}, expected 0 to Q - 1.")
    if (np.bincount(queries[correct], minlength=len(positives)) > positives).any():
        raise ValueError("a query has more right pairs than are said to exist.")
    order = np.lexsort((correct, -scores))
    queries, scores, correct = queries[order], scores[order], correct[order]
    places, ranks = _places(queries, scores)
    return RankedPairs(queries, scores, correct, places, ranks, positives)


def resample(pairs: RankedPairs, counts: np.ndarray) -> RankedPairs:
    """The pairs of a data set that holds query q ``counts[q]`` times; each copy is a query of its own.

    Args:
        pairs: of Q queries.
        counts: (Q,) integers >= 0.
    """
    copies = counts[pairs.queries]
    first_copy = np.cumsum(counts) - counts
    number = np.arange(copies.sum()) - np.repeat(np.cumsum(copies) - copies, copies)
    return RankedPairs(
        np.repeat(first_copy[pairs.queries], copies) + number,
        np.repeat(pairs.scores, copies),
        np.repeat(pairs.correct, copies),
        np.repeat(pairs.places, copies),
        np.repeat(pairs.ranks, copies),
        np.repeat(pairs.positives, counts),
    )


def average_precision(pairs: RankedPairs) -> float:
    """:func:`micro_average_precision` of pairs that are ranked already; ``nan`` without positives."""
    precision = np.cumsum(pairs.correct) / np.arange(1, len(pairs.correct) + 1)
    return _share(precision[pairs.correct].sum(), pairs)


def resampled_average_precision(pairs: RankedPairs, counts: np.ndarray) -> float:
    """:func:`average_precision` of :func:`resample`, thirty times faster, since only right pairs are copied.

    Args:
        pairs: of Q queries.
        counts: (Q,) integers >= 0.
    """
    copies = counts[pairs.queries]
    ends, right = np.cumsum(copies), np.flatnonzero(pairs.correct)
    copies = copies[right]
    found = np.arange(1, copies.sum() + 1)
    # The copies of a right pair follow each other, behind all pairs that are better than it.
    wrong_before = ends[right] - np.cumsum(copies)
    positives = int(counts @ pairs.positives)
    if not positives:
        return float("nan")
    return float((found / (found + np.repeat(wrong_before, copies))).sum() / positives)


@dataclass(frozen=True)
class OperatingPoint:
    """The share of right pairs found when pairs with ``score >= threshold`` are accepted."""

    recall: float
    threshold: float


def recall_at_precision(pairs: RankedPairs, precision: float = 0.9) -> OperatingPoint:
    """The largest recall at which the precision is at least ``precision`` (ISC 2021: 0.9).

    Returns:
        The recall, and the highest score that gives it; 0 and ``inf`` when the precision is never reached.
    """
    found = np.cumsum(pairs.correct)
    precise = found / np.arange(1, len(found) + 1) >= precision
    if not precise.any():
        return OperatingPoint(_share(0.0, pairs), float("inf"))
    best = int(np.where(precise, found, -1).argmax())
    return OperatingPoint(_share(found[best], pairs), float(pairs.scores[best]))


def recall_at_rank(pairs: RankedPairs, k: int) -> float:
    """Share of the right pairs that are among the first k of their query; equal scores count against them."""
    return _share((pairs.ranks[pairs.correct] < k).sum(), pairs)


def accuracy_at_1(pairs: RankedPairs) -> float:
    """What SSCD (Pizzi et al. 2022) calls accuracy-at-1: the recall at rank 1 over the right pairs."""
    return recall_at_rank(pairs, 1)


def query_average_precisions(pairs: RankedPairs) -> np.ndarray:
    """Average precision of each query by the trapezoid rule, as the Copydays evaluation defines it.

    At the t-th right answer (from 0) in place r, the precision before it is t / r (1 in place 0) and after it
    (t + 1) / (r + 1); their means are summed and divided by the number of right answers.

    Returns:
        (Q,) float64; ``nan`` for a query without right answers.
    """
    right = np.flatnonzero(pairs.correct)
    right = right[np.argsort(pairs.queries[right], kind="stable")]  # by query, each query's best first
    queries, places = pairs.queries[right], pairs.places[right]
    before = np.arange(len(right)) - np.searchsorted(queries, queries, side="left")
    sums = np.bincount(queries, _trapezoids(places, before), minlength=len(pairs.positives))
    with np.errstate(invalid="ignore"):
        return sums / pairs.positives


def mean_average_precision(pairs: RankedPairs) -> float:
    """Copydays mAP: mean of :func:`query_average_precisions` over the queries that have a right answer."""
    known = query_average_precisions(pairs)[pairs.positives > 0]
    return float(known.mean()) if len(known) else float("nan")


def pooled_average_precision(pairs: RankedPairs) -> float:
    """Copydays uAP: the trapezoid rule on all pairs in one ranking; ``nan`` without positives."""
    places = np.flatnonzero(pairs.correct)
    return _share(_trapezoids(places, np.arange(len(places))).sum(), pairs)


def _trapezoids(places: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Mean precision around each right answer: in place r (from 0), with t right ones before it."""
    precision_before = np.where(places == 0, 1.0, before / np.maximum(places, 1))
    return (precision_before + (before + 1) / (places + 1)) / 2


def _share(amount: float, pairs: RankedPairs) -> float:
    positives = int(pairs.positives.sum())
    return float(amount) / positives if positives else float("nan")


def _places(queries: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of ranked pairs: place among those of the query, and place of the last one with the same score."""
    by_query = np.argsort(queries, kind="stable")
    queries, scores = queries[by_query], scores[by_query]
    place = np.arange(len(queries)) - np.searchsorted(queries, queries, side="left")
    last = np.ones(len(queries), dtype=bool)
    last[:-1] = (queries[1:] != queries[:-1]) | (scores[1:] != scores[:-1])
    group = np.cumsum(last) - last
    places, ranks = np.empty_like(place), np.empty_like(place)
    places[by_query] = place
    ranks[by_query] = place[last][group]
    return places, ranks
