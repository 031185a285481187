"""Confidence intervals of metrics over images: the queries are drawn again, with replacement."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from active_indexing.metrics.ranking import RankedPairs, resample
from active_indexing.seeding import generator_for

REPLICATES = 1000
"""Data sets drawn; enough for the ends of a 95 % interval (Efron and Tibshirani 1993, chapter 13)."""

LEVEL = 0.95
"""Probability that an interval covers the true value."""


@dataclass(frozen=True)
class Interval:
    """Ends of a percentile interval; ``nan`` when no data set that was drawn had a value."""

    low: float
    high: float


def bootstrap(
    pairs: RankedPairs,
    statistics: Callable[[RankedPairs], Mapping[str, float]],
    *,
    replicates: int = REPLICATES,
    level: float = LEVEL,
    seed: int = 0,
) -> dict[str, Interval]:
    """Percentile bootstrap over queries.

    Every replicate draws as many queries as there are, with replacement, each with all of its pairs and
    right answers. Nothing is interpolated, so that a value may be infinite.

    Args:
        pairs: of the data set; queries without a right answer are drawn like the others.
        statistics: name -> value, of a data set.
        replicates: data sets drawn.
        level: probability of the interval, in (0, 1).
        seed: of the draws.

    Returns:
        Name -> interval.

    Raises:
        ValueError: ``replicates`` or ``level`` out of range, or no queries.
    """
    if replicates < 1 or not 0 < level < 1 or not len(pairs.positives):
        raise ValueError(
            f"a bootstrap needs at least 1 replicate, a level between 0 and 1 and at least 1 query; "
            f"got {replicates}, {level} and {len(pairs.positives)}."
        )
    rng = generator_for(seed, "queries", "bootstrap")
    queries = len(pairs.positives)
    values: dict[str, list[float]] = {}
    for _ in range(replicates):
        counts = np.bincount(rng.integers(0, queries, queries), minlength=queries)
        for name, value in statistics(resample(pairs, counts)).items():
            values.setdefault(name, []).append(value)
    return {name: percentile_interval(np.array(drawn), level) for name, drawn in values.items()}


def percentile_interval(values: np.ndarray, level: float) -> Interval:
    """The values that leave (1 - level) / 2 of all others outside on either side, rounded outwards.

    Args:
        values: (R,) float64; ``nan`` is left out.
        level: in (0, 1).
    """
    known = np.sort(values[~np.isnan(values)])
    if not len(known):
        return Interval(float("nan"), float("nan"))
    # 1 - 0.9 is a little less than 0.1 in floating point
    outside = math.floor((1 - level) / 2 * (len(known) - 1) + 1e-9)
    return Interval(float(known[outside]), float(known[-1 - outside]))
