"""The threshold that keeps a chosen rate of false positives, and how sure it is.

The intervals hold for every distribution of the scores: they come from the order statistics of the queries
[DN] (David and Nagaraja, "Order Statistics", 2003, sections 2.2 and 7.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from active_indexing.metrics.bootstrap import LEVEL


@dataclass(frozen=True)
class Threshold:
    """A threshold and how sure it is; where an end is ``None``, the queries can't tell.

    Attributes:
        value: accept an answer strictly beyond it; ``None``: accept every answer.
        low: lower end of its interval.
        high: upper end of its interval.
        rate_low: lower end of the interval of the false-positive rate that it really has.
        rate_high: upper end of that interval.
        recall: share of the matching queries of which the right answer is accepted; ``None`` without any.
        recall_low: lower end of its interval (Clopper and Pearson 1934).
        recall_high: upper end.
    """

    value: float | None
    low: float | None
    high: float | None
    rate_low: float
    rate_high: float
    recall: float | None = None
    recall_low: float | None = None
    recall_high: float | None = None


@dataclass(frozen=True, eq=False)
class QueryScores:
    """Scores of all queries of a run, larger is better, by one rule.

    Attributes:
        non_matching: best score of each query without a match; ``-inf`` without answers.
        right: score of the right answer of each query with one; ``-inf`` when it was not found.
    """

    non_matching: np.ndarray
    right: np.ndarray


def threshold(scores: QueryScores, rate: float, level: float = LEVEL) -> Threshold:
    """The lowest threshold that at most ``rate`` of the non-matching queries exceed.

    The number of queries beyond the true threshold is binomial, which bounds it by order statistics ([DN]
    7.1); the true rate beyond the (a + 1)-th largest of n scores is Beta(a + 1, n - a) ([DN] 2.2).

    Args:
        scores: of the queries; at least one without a match.
        rate: in (0, 1).
        level: in (0, 1).
    """
    best = np.sort(scores.non_matching)[::-1]
    count = len(best)
    allowed = int(np.floor(rate * count + 1e-9))  # 0.29 x 100 is a little less than 29 in floating point
    outside = (1 - level) / 2
    fewest, most = (int(stats.binom.ppf(q, count, rate)) for q in (outside, 1 - outside))
    rates = stats.beta.ppf([outside, 1 - outside], allowed + 1, count - allowed)
    value = _finite(best[allowed])
    found = int((scores.right > (-np.inf if value is None else value)).sum())
    recall, recall_low, recall_high = _proportion(found, len(scores.right), level)
    return Threshold(
        value,
        _finite(best[most]) if most < count else None,
        _finite(best[fewest - 1]) if fewest else None,
        rate_low=float(rates[0]),
        rate_high=float(rates[1]),
        recall=recall,
        recall_low=recall_low,
        recall_high=recall_high,
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _proportion(found: int, count: int, level: float) -> tuple[float | None, float | None, float | None]:
    if not count:
        return None, None, None
    interval = stats.binomtest(found, count).proportion_ci(level, method="exact")
    return found / count, float(interval.low), float(interval.high)


def next_neighbour_scores(scores: np.ndarray, factor: float = 1.0) -> np.ndarray:
    """Scores of a query's answers, each less the score of the next answer (published active_indexing).

    Args:
        scores: (n,) descending.
        factor: weight of the next score; published: 1.

    Returns:
        (max(n - 1, 0),): the last answer has no next one and is left out.
    """
    return scores[:-1] - factor * scores[1:]
