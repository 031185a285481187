"""Confidence intervals of metrics over images or queries: drawn again, with replacement.

One rule everywhere: what is drawn is whole images (all copies of one succeed and fail together) or whole
queries; the ends are values that were drawn, rounded outwards, never a mix of two, so that an infinite ratio
stays infinite. The same number of images and the same seed give the same draws, on which two runs are
compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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


def draws(items: int, replicates: int = REPLICATES, seed: int = 0) -> Iterator[np.ndarray]:
    """How often each item is in each data set that is drawn.

    Args:
        items: images or queries; every data set has as many.
        replicates: data sets.
        seed: of the draws.

    Yields:
        (items,) int64 whose sum is ``items``.
    """
    rng = generator_for(seed, "queries", "bootstrap")
    for _ in range(replicates):
        drawn = rng.integers(0, items, items) if items else np.zeros(0, dtype=np.int64)
        yield np.bincount(drawn, minlength=items)


def drawn_means(values: np.ndarray, replicates: int = REPLICATES, seed: int = 0) -> np.ndarray:
    """Mean of each column over the images of each data set drawn, missing values left out.

    Args:
        values: (images, columns) float64, ``nan`` where a copy is missing.
        replicates: data sets.
        seed: of the draws.

    Returns:
        (replicates, columns) float64; ``nan`` where no drawn image has a value.
    """
    return np.array([column_means(values, counts) for counts in draws(len(values), replicates, seed)])


def column_means(values: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Mean of each column, missing values left out.

    Args:
        values: (images, columns) float64, ``nan`` where a copy is missing.
        counts: (images,) how often each image counts; once by default.

    Returns:
        (columns,) float64; ``nan`` where no image that counts has a value.
    """
    counts = np.ones(len(values)) if counts is None else counts
    present = ~np.isnan(values)
    sums, numbers = counts @ np.where(present, values, 0.0), counts @ present
    return np.divide(sums, numbers, out=np.full(sums.shape, np.nan), where=numbers > 0)


def bootstrap(
    pairs: RankedPairs,
    statistics: Callable[[RankedPairs], Mapping[str, float]],
    *,
    replicates: int = REPLICATES,
    level: float = LEVEL,
    seed: int = 0,
) -> dict[str, Interval]:
    """Percentile bootstrap over queries, each drawn with all of its pairs and right answers.

    Args:
        pairs: of the data set; queries without a right answer are drawn like the others.
        statistics: name -> value, of a data set; it may be infinite.
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
    values: dict[str, list[float]] = {}
    for counts in draws(len(pairs.positives), replicates, seed):
        for name, value in statistics(resample(pairs, counts)).items():
            values.setdefault(name, []).append(value)
    return {name: percentile_interval(np.array(drawn), level) for name, drawn in values.items()}


def percentile_interval(values: np.ndarray, level: float = LEVEL) -> Interval:
    """:func:`percentile_ends` of one figure.

    Args:
        values: (R,) float64; ``nan`` is left out.
        level: in (0, 1).
    """
    low, high = percentile_ends(values, level)
    return Interval(float(low), float(high))


def percentile_ends(values: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """The values that leave (1 - level) / 2 of all others outside on either side, rounded outwards.

    Args:
        values: (R, ...) float64; ``nan`` is left out.
        level: in (0, 1).

    Returns:
        low, high: (...) float64; ``nan`` where there is no value at all.
    """
    ranked = np.sort(values, axis=0)  # nan is last
    known = np.maximum((~np.isnan(values)).sum(axis=0), 1)
    # 1 - 0.9 is a little less than 0.1 in floating point
    outside = np.floor((1 - level) / 2 * (known - 1) + 1e-9).astype(np.int64)
    low, high = (np.take_along_axis(ranked, at[None], axis=0)[0] for at in (outside, known - 1 - outside))
    return low, high
