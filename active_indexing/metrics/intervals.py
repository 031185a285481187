"""Bootstrap intervals over images.

Images are drawn again with replacement, all copies of an image together, because copies of one image
succeed and fail together. Two runs are compared on the same draws.
"""

from __future__ import annotations

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95


def resample_counts(images: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """How often each image is drawn in each resample.

    Returns:
        (resamples, images) int64; every row sums to ``images``.
    """
    if not images:
        return np.zeros((resamples, 0), dtype=np.int64)
    rng = np.random.default_rng(seed)
    return rng.multinomial(images, np.full(images, 1 / images), size=resamples)


def column_means(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean of each column over the drawn images, missing values left out.

    Args:
        values: (images, columns) float64, ``nan`` where a copy is missing.
        counts: (resamples, images).

    Returns:
        (resamples, columns) float64; ``nan`` where no drawn image has a value.
    """
    present = ~np.isnan(values)
    sums = counts @ np.where(present, values, 0.0)
    numbers = counts @ present
    return np.divide(sums, numbers, out=np.full(sums.shape, np.nan), where=numbers > 0)


def interval(draws: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval of each column of (resamples, ...) draws; ``nan`` draws are left out."""
    tails = [(1 - level) / 2, (1 + level) / 2]
    known = ~np.isnan(draws).all(axis=0)
    low, high = (np.full(draws.shape[1:], np.nan) for _ in tails)
    if np.any(known):
        low[known], high[known] = np.nanquantile(draws[:, known], tails, axis=0)
    return low, high
